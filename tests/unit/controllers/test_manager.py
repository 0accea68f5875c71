"""Choosing controllers, and an identity for each."""
from __future__ import annotations

import pytest

from kubepy.api.resource import SERVICE_ACCOUNTS
from kubepy.base import metrics
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.gate import DEFAULT, Gates
from kubepy.base.task import Tasks
from kubepy.client.informer import InformerFactory
from kubepy.client.kubeconfig import Config
from kubepy.client.memory import MemoryClient
from kubepy.controllers import main, manager
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.identity import Identities
from kubepy.controllers.kit.option import Options


@pytest.mark.parametrize(("selection", "inside", "outside"), [
    pytest.param(["*"], "deployment-controller", "token-cleaner-controller", id="all that are on by default"),
    pytest.param(["*", "tokencleaner", "-deployment"], "token-cleaner-controller", "deployment-controller", id="one more and one less"),
    pytest.param(["replicaset"], "replicaset-controller", "deployment-controller", id="only one"),
])
def test_choice(selection: list[str], inside: str, outside: str) -> None:
    names = [entry.name for entry in manager.choose(selection)]
    assert inside in names
    assert outside not in names


def test_an_unknown_controller_is_refused() -> None:
    with pytest.raises(manager.UnknownController):
        manager.choose(["*", "nonsense"])
    with pytest.raises(SystemExit):
        main.main(["--controllers=nonsense"])


UPSTREAM = """
serviceaccount-token-controller endpoints-controller endpointslice-controller endpointslice-mirroring-controller
replicationcontroller-controller pod-garbage-collector-controller resourcequota-controller namespace-controller
serviceaccount-controller garbage-collector-controller daemonset-controller job-controller deployment-controller
replicaset-controller horizontal-pod-autoscaler-controller disruption-controller statefulset-controller cronjob-controller
certificatesigningrequest-signing-controller certificatesigningrequest-approving-controller
certificatesigningrequest-cleaner-controller podcertificaterequest-cleaner-controller ttl-controller bootstrap-signer-controller
token-cleaner-controller node-ipam-controller node-lifecycle-controller taint-eviction-controller service-lb-controller
node-route-controller cloud-node-lifecycle-controller persistentvolume-binder-controller
persistentvolume-attach-detach-controller persistentvolume-expander-controller clusterrole-aggregation-controller
persistentvolumeclaim-protection-controller persistentvolume-protection-controller volumeattributesclass-protection-controller
ttl-after-finished-controller root-ca-certificate-publisher-controller
kube-apiserver-serving-clustertrustbundle-publisher-controller ephemeral-volume-controller
storageversion-garbage-collector-controller resourceclaim-controller device-taint-eviction-controller
resourcepoolstatusrequest-controller legacy-serviceaccount-token-cleaner-controller validatingadmissionpolicy-status-controller
service-cidr-controller storage-version-migrator-controller selinux-warning-controller
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", UPSTREAM)
def test_every_controller_of_upstream_is_here(name: str) -> None:
    assert [entry.name for entry in manager.choose([name])] == [name]


async def test_a_controller_runs_only_with_its_feature() -> None:
    entry = next(entry for entry in manager.CONTROLLERS if entry.gate == "StorageVersionMigrator")
    clock = VirtualClock()
    client, tasks = MemoryClient(clock), Tasks("test", clock)
    for gates, built in ((DEFAULT, []), (Gates({"StorageVersionMigrator": True}), [entry.name])):
        env = Environment(lambda account: client, InformerFactory(client, clock=clock), tasks, Options(gates=gates), clock)
        assert [name for name, _ in manager.build(env, [entry])] == built


def test_flags_become_options(tmp_path: object) -> None:
    args = main.parser().parse_args(["--cluster-cidr=10.0.0.0/8,fd00::/48", "--node-monitor-grace-period=1m30s", "--concurrent-gc-syncs=3",
                                     "--allocate-node-cidrs"])
    options = main.options(args)
    assert options.cluster_cidr == ("10.0.0.0/8", "fd00::/48")
    assert (options.node_monitor_grace_period, options.concurrency("gc", 20), options.allocate_node_cidrs) == (90.0, 3, True)


async def test_each_identity_gets_its_account_and_token_and_start_waits_for_all() -> None:
    clock = VirtualClock()
    client, tasks = MemoryClient(clock), Tasks("test", clock)
    identities = Identities(client, Config("http://127.0.0.1:1"), clock, tasks)
    for account in ("a", "b"):
        identities.client(account)
    identities.client("a", metadata_only=True)
    waiting = tasks.start(identities.wait(), "wait")
    await settle()
    await clock.advance(0.2)
    assert waiting.done()
    assert [item["metadata"]["name"] for item in client.all(SERVICE_ACCOUNTS)] == ["a", "b"]
    await identities.close()
    await tasks.stop()


def test_the_flags_that_kubeadm_writes_are_taken() -> None:
    args = main.parser().parse_args("""--allocate-node-cidrs=true --authentication-kubeconfig=a --authorization-kubeconfig=a
        --bind-address=127.0.0.1 --client-ca-file=ca --cluster-cidr=10.244.0.0/16 --cluster-name=kubernetes --cluster-signing-cert-file=ca
        --cluster-signing-key-file=key --controllers=*,bootstrapsigner,tokencleaner --kubeconfig=a --leader-elect=true
        --requestheader-client-ca-file=ca --root-ca-file=ca --service-account-private-key-file=key --tls-min-version=VersionTLS13
        --service-cluster-ip-range=10.96.0.0/12 --use-service-account-credentials=true --profiling=false""".split())  # noqa: SIM905
    assert (args.tls_min_version, args.authorization_webhook_cache_authorized_ttl) == ("VersionTLS13", 10.0)


@pytest.mark.parametrize("words", [
    "--cloud-provider=external --cloud-config=x --external-cloud-volume-plugin=aws --enable-leader-migration=false",
    "--flex-volume-plugin-dir=/x --pv-recycler-increment-timeout-nfs=4 --pv-recycler-timeout-increment-hostpath=5",
    "--emulated-version=kube=1.36 --min-compatibility-version=1.36 --emulation-forward-compatible",
    "--permit-address-sharing --permit-port-sharing --disable-http2-serving --http2-max-streams-per-connection=47",
    "--log-json-split-stream=false --log-json-info-buffer-size=0 --disabled-metrics=a,b --controller-shutdown-timeout=5s",
    "--concurrent-device-taint-eviction-syncs=3 --disable-force-detach-on-timeout --pv-recycler-minimum-timeout-nfs=9",
])
def test_rare_flags_are_taken(words: str) -> None:
    main.options(main.parser().parse_args(words.split()))


@pytest.mark.parametrize(("words", "why"), [
    ("--cloud-provider=aws", "clouds have managers of their own"),
    ("--enable-leader-migration=true", "there is no other manager"),
    ("--emulated-version=1.35", "this is 1.36 and nothing else"),
    ("--log-text-split-stream=true", "feature LoggingAlphaOptions is disabled"),
    ("--allow-metric-labels=a,b='c'", "labels of metrics are not restricted here"),
    ("--tls-sni-cert-key=one", "expected comma separated certificate and key file paths"),
])
def test_what_would_be_another_behaviour_is_refused(words: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.parser().parse_args(words.split())
    assert why in capsys.readouterr().err


def test_a_template_that_cannot_be_used_ends_the_start() -> None:
    with pytest.raises(SystemExit):
        main.main(["--pv-recycler-pod-template-filepath-nfs=/nowhere"])


def test_hidden_metrics_are_not_shown() -> None:
    found = metrics.counter("kubepy_test_hidden_total", "Hidden.")
    metrics.counter("kubepy_test_hidden_total_not", "Shown.")
    found.inc()
    assert b"kubepy_test_hidden_total 1.0" in metrics.render()
    metrics.hide(["kubepy_test_hidden_total"])
    try:
        assert b"kubepy_test_hidden_total 1.0" not in metrics.render()
        assert b"Shown." in metrics.render()
    finally:
        metrics.hide([])
