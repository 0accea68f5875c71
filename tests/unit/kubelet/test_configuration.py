"""The KubeletConfiguration file: followed, or refused with a reason."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubepy.kubelet import kernel
from kubepy.kubelet.configuration import document_of, from_document, load_directory, validate
from kubepy.kubelet.feature import gates_of
from kubepy.kubelet.flag import parser, settings_of
from kubepy.kubelet.settings import Settings, SettingsError


def read(**document: Any) -> Settings:
    settings = from_document({"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", **document}, Settings())
    validate(settings)
    return settings


FOLLOWED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain values": ({"maxPods": 10, "clusterDomain": "c.local"}, {"max_pods": 10, "cluster_domain": "c.local"}),
    "durations": ({"syncFrequency": "1m30s", "imageMaximumGCAge": "48h"}, {"sync_frequency": 90.0, "image_maximum_gc_age": 172800.0}),
    "lists": ({"clusterDNS": ["10.96.0.10"]}, {"cluster_dns": ("10.96.0.10",)}),
    "authentication": ({"authentication": {"anonymous": {"enabled": True}, "x509": {"clientCAFile": "/ca"}}},
                       {"anonymous_auth": True, "client_ca_file": "/ca"}),
    "parallel pulls": ({"serializeImagePulls": False, "maxParallelImagePulls": 3}, {"image_pull_serial": False, "image_pulls_parallel": 3}),
    "eviction thresholds take the place of the defaults": ({"evictionHard": {"memory.available": "1Gi"}},
                                                           {"eviction_hard": {"memory.available": "1Gi"}}),
    "or join them": ({"evictionHard": {"memory.available": "1Gi"}, "mergeDefaultEvictionSettings": True},
                     {"eviction_hard": {**Settings().eviction_hard, "memory.available": "1Gi"}}),
    "what only tunes upstream": ({"kubeAPIQPS": 50, "hairpinMode": "hairpin-veth", "logging": {}}, {}),
    "cgroups, topology and gates": (
        {"qosReserved": {"memory": "50%"}, "featureGates": {"QOSReserved": True}, "cgroupRoot": "/k", "systemCgroups": "/system",
         "kubeletCgroups": "/kubelet", "topologyManagerPolicyOptions": {"prefer-closest-numa-nodes": "true"}},
        {"qos_reserved": {"memory": "50%"}, "feature_gates": {"QOSReserved": True}, "system_cgroups": "/system",
         "kubelet_cgroups": "/kubelet", "topology_manager_options": {"prefer-closest-numa-nodes": "true"}}),
    "options of TLS and of the CPU manager": (
        {"tlsMinVersion": "VersionTLS13", "cpuManagerPolicyOptions": {"full-pcpus-only": "true"}, "memorySwap": {
            "swapBehavior": "LimitedSwap"}, "userNamespaces": {"idsPerPod": 131072}, "logging": {"format": "json", "verbosity": 3}},
        {"tls_min_version": "VersionTLS13", "cpu_manager_options": {"full-pcpus-only": "true"}, "swap_behavior": "LimitedSwap",
         "ids_per_pod": 131072, "log_format": "json", "log_verbosity": 3}),
    "how long answers are kept": ({"authorization": {"webhook": {"cacheAuthorizedTTL": "1m"}}}, {"authz_allowed_ttl": 60.0}),
    "what kubeadm writes": ({
        "authorization": {"mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "0s"}}, "cgroupDriver": "systemd",
        "containerRuntimeEndpoint": "unix:///run/c.sock", "cpuManagerReconcilePeriod": "0s", "memorySwap": {},
        "rotateCertificates": True, "staticPodPath": "/etc/kubernetes/manifests", "volumeStatsAggPeriod": "0s"},
        {"rotate_certificates": True, "volume_stats_period": 60.0}),
}


@pytest.mark.parametrize(("document", "expected"), FOLLOWED.values(), ids=FOLLOWED.keys())
def test_what_is_followed(document: dict[str, Any], expected: dict[str, Any]) -> None:
    settings = read(**document)
    assert {name: getattr(settings, name) for name in expected} == expected


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a field nobody knows": ({"maxPodz": 3}, 'unknown field "maxPodz"'),
    "what is not done": ({"tracing": {"samplingRatePerMillion": 1}}, "tracing .* is not supported by this kubelet"),
    "QoS of something else": ({"qosReserved": {"cpu": "50%"}}, 'cannot reserve "cpu" resource'),
    "more than all of it": ({"qosReserved": {"memory": "101%"}}, "percentage must be between 0 and 100"),
    "the system's cgroup without a root": ({"systemCgroups": "/system"}, "cgroupRoot .* was not specified"),
    "a topology option there is not": ({"topologyManagerPolicyOptions": {"a": "true"}}, 'unknown Topology Manager Policy option: "a"'),
    "fewer NUMA nodes than ever": ({"topologyManagerPolicyOptions": {"max-allowable-numa-nodes": "2"}}, "should not be less than 8"),
    "memory of nodes without any left for the system": ({"memoryManagerPolicy": "Static"}, "requires reservedMemory"),
    "swap without limits": ({"memorySwap": {"swapBehavior": "UnlimitedSwap"}}, "memorySwap.swapBehavior must be one of"),
    "a namespace of half a range": ({"userNamespaces": {"idsPerPod": 1000}}, "must be a multiple of 65536"),
    "a cipher nobody knows": ({"tlsCipherSuites": ["ROT13"]}, 'tlsCipherSuites "ROT13" is not supported'),
    "a CPU policy's option that is not done": ({"cpuManagerPolicyOptions": {"align-by-socket": "true"}}, "is not supported by"),
    "thresholds the wrong way round": ({"imageGCHighThresholdPercent": 50, "imageGCLowThresholdPercent": 60},
                                       r"imageGCLowThresholdPercent \(--image-gc-low-threshold\) 60 must be less than"),
    "parallel pulls one after the other": ({"maxParallelImagePulls": 3}, "cannot be larger than 1 unless SerializeImagePulls"),
    "a topology policy there is not": ({"topologyManagerPolicy": "most"}, 'topologyManagerPolicy .* "most" must be one of'),
    "two ways of shutting down": ({"shutdownGracePeriod": "10s", "shutdownGracePeriodByPodPriority": [{"priority": 0}]},
                                  "Cannot specify both"),
    "more for critical pods than for all": ({"shutdownGracePeriodCriticalPods": "10s"}, "must be <= shutdownGracePeriod"),
    "too long a crash back-off": ({"crashLoopBackOff": {"maxContainerRestartPeriod": "10m"}}, "must be set between 1s and 300s"),
    "a DNS server that is no address": ({"clusterDNS": ["dns.local"]}, "is not an IP address"),
    "a duration that is none": ({"syncFrequency": "soon"}, "not a duration"),
}


@pytest.mark.parametrize(("document", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        read(**document)


@pytest.mark.parametrize(("gates", "problem"), [
    ({"Nonsense": True}, "^failed to set feature gates from initial flags-based config: unrecognized feature gate: Nonsense"),
    ({"SidecarContainers": False}, "cannot set feature gate SidecarContainers to false, feature is locked to true"),
    ({"MemoryQoS": True}, "feature gate MemoryQoS cannot be true here"),
], ids=["unknown", "locked", "what is not done"])
def test_gates_that_cannot_be_set_so(gates: dict[str, bool], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        gates_of(read(featureGates=gates))


def test_gates_are_as_the_file_and_the_flag_say() -> None:
    assert gates_of(read(featureGates={"QOSReserved": True, "KubeletPSI": True}))["QOSReserved"]
    assert gates_of(settings_of(parser().parse_args(["--feature-gates=QOSReserved=true,NodeSwap=true"])))["QOSReserved"]


def test_files_of_a_directory_win_one_after_the_other_and_mappings_are_joined(tmp_path: Path) -> None:
    head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
    (tmp_path / "10-a.conf").write_text(f"{head}maxPods: 10\nevictionHard: {{memory.available: 1Gi}}\nclusterDNS: [10.0.0.1]\n")
    (tmp_path / "20-b.conf").write_text(f"{head}maxPods: 20\nclusterDNS: [10.0.0.2]\n")
    (tmp_path / "30-c.yaml").write_text("nothing: read")
    found = load_directory(str(tmp_path), Settings())
    assert (found.max_pods, found.cluster_dns) == (20, ("10.0.0.2",))
    assert found.eviction_hard == {**Settings().eviction_hard, "memory.available": "1Gi"}


def test_kernel_settings_that_are_not_as_they_should_be(tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "overcommit_memory").write_text("0\n")
    assert kernel.problems(tmp_path) == "invalid kernel flag: vm/overcommit_memory, expected value: 1, actual value: 0"


def test_the_defaults_are_shown_and_read_back_the_same() -> None:
    shown = document_of(Settings())
    shown.pop("containerLogMaxSize")
    again = from_document({"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", **shown}, Settings())
    assert again == Settings()
