"""Environment, names, resources and security contexts of containers."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubepy.kubelet.container.env import EnvError, Sources, environment, expand, service_variables
from kubepy.kubelet.container.envfile import EnvFileError, parse, read_file
from kubepy.kubelet.container.network import Resolver, dns_config, hosts_file, sandbox_host_name
from kubepy.kubelet.container.resource import container_resources, cpu_quota, cpu_shares, oom_score
from kubepy.kubelet.container.sandbox import port_mappings
from kubepy.kubelet.container.security import SecurityError, container_context, namespaces, verify_non_root
from kubepy.kubelet.container.signal import signal_name, stop_signal
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.pod.spec import qos_class
from tests.unit.kubelet.test_plan import container, pod


@pytest.mark.parametrize(("text", "expected"), [
    ("$(A)", "1"), ("x$(A)y$(B)", "x1y2"), ("$$(A)", "$(A)"), ("$(NO)", "$(NO)"), ("$A", "$A"), ("$$$(A)", "$1"), ("$(A", "$(A"), ("100$",
                                                                                                                                   "100$"),
], ids=["a variable", "two", "an escaped one", "an unknown one", "no parentheses", "an escape before one", "not closed", "a lone dollar"])
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


OBJECTS: dict[tuple[str, str], dict[str, Any]] = {("ConfigMap", "cm"): {"data": {"a": "1"}}, ("Secret", "s"): {"data": {"k": "v"}}}
SOURCES = Sources(lambda kind, name: OBJECTS.get((kind, name)), (), ("192.0.2.1",), ("10.0.0.1",), {"cpu": "2", "memory": "1Gi"})


def value_from(**source: Any) -> dict[str, Any]:
    return {"env": [{"name": "X", "valueFrom": source}]}


@pytest.mark.parametrize(("fields", "expected"), [
    ({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}]}, {"A": "1", "B": "12"}),
    ({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}]}, {"P_a": "1"}),
    ({"envFrom": [{"configMapRef": {"name": "no", "optional": True}}]}, {}),
    (value_from(secretKeyRef={"name": "s", "key": "k"}), {"X": "v"}),
    (value_from(configMapKeyRef={"name": "cm", "key": "no", "optional": True}), {}),
    (value_from(fieldRef={"fieldPath": "status.podIP"}), {"X": "10.0.0.1"}),
    (value_from(fieldRef={"fieldPath": "metadata.labels['app']"}), {"X": "web"}),
    (value_from(resourceFieldRef={"resource": "limits.cpu"}), {"X": "2"}),
    (value_from(resourceFieldRef={"resource": "requests.cpu", "divisor": "1m"}), {"X": "250"}),
    (value_from(resourceFieldRef={"resource": "limits.memory", "divisor": "1Mi"}), {"X": "1024"}),
], ids=["later ones see earlier ones", "a prefixed ConfigMap", "a missing optional one", "a Secret's key", "a missing optional key",
        "the pod's address", "a label", "no limit means the node's", "a divisor", "memory in mebibytes"])
def test_environment(fields: dict[str, Any], expected: dict[str, str]) -> None:
    spec = pod(container(resources={"requests": {"cpu": "250m"}}, **fields))
    spec["metadata"]["labels"] = {"app": "web"}
    assert environment(spec, spec["spec"]["containers"][0], SOURCES) == expected


@pytest.mark.parametrize(("fields", "message"), [
    ({"envFrom": [{"secretRef": {"name": "no"}}]}, 'secret "no" not found'),
    (value_from(configMapKeyRef={"name": "cm", "key": "no"}), "couldn't find key no in ConfigMap default/cm"),
], ids=["a missing Secret", "a missing key"])
def test_environment_that_cannot_be_made(fields: dict[str, Any], message: str) -> None:
    spec = pod(container(**fields))
    with pytest.raises(EnvError, match=message):
        environment(spec, spec["spec"]["containers"][0], SOURCES)


def test_services_show_in_the_environment() -> None:
    def service(name: str, ip: str, namespace: str = "default") -> dict[str, Any]:
        return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80}]}}

    every = [service("my-web", "10.96.0.5"), service("headless", "None"), service("other", "10.96.0.6", "elsewhere"),
             service("kubernetes", "10.96.0.1")]
    found = service_variables(every, "default", all=True)
    assert found["MY_WEB_SERVICE_HOST"] == "10.96.0.5"
    assert found["MY_WEB_SERVICE_PORT_HTTP"] == "80"
    assert found["MY_WEB_PORT_80_TCP"] == "tcp://10.96.0.5:80"
    assert not any(name.startswith(("HEADLESS", "OTHER")) for name in found)
    only = service_variables(every, "elsewhere", all=False)
    assert {name.split("_")[0] for name in only} == {"KUBERNETES"}


HOST = Resolver.parse("search corp.example\nnameserver 1.1.1.1 # first\noptions edns0\n")


@pytest.mark.parametrize(("spec", "servers", "searches", "options"), [
    ({}, ["10.96.0.10"], ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"], ["ndots:5"]),
    ({"dnsPolicy": "Default"}, ["1.1.1.1"], ["corp.example"], ["edns0"]),
    ({"hostNetwork": True}, ["1.1.1.1"], ["corp.example"], ["edns0"]),
    ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, ["10.96.0.10"],
     ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"], ["ndots:5"]),
    ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["x"], "options": [{"name": "ndots", "value": "2"}]}},
     ["9.9.9.9"], ["x"], ["ndots:2"]),
    ({"dnsConfig": {"options": [{"name": "ndots", "value": "1"}, {"name": "rotate"}]}}, ["10.96.0.10"],
     ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"], ["ndots:1", "rotate"]),
], ids=["the cluster's", "the node's", "the node's with its network", "the cluster's with the node's network", "none but its own",
        "merged"])
def test_dns(spec: dict[str, Any], servers: list[str], searches: list[str], options: list[str]) -> None:
    found = dns_config(pod(**spec), ["10.96.0.10"], "cluster.local", HOST)
    assert (list(found.servers), list(found.searches), list(found.options)) == (servers, searches, options)


def test_hosts_and_host_names() -> None:
    spec = pod(hostname="h", subdomain="sub", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["x", "y"]}])
    text = hosts_file(spec, ["10.0.0.1"], "cluster.local")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.1\th.sub.default.svc.cluster.local\th\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n1.2.3.4\tx\ty\n")
    assert sandbox_host_name(spec, "cluster.local") == "h"
    spec["spec"]["setHostnameAsFQDN"] = True
    assert sandbox_host_name(spec, "cluster.local") == "h.sub.default.svc.cluster.local"
    assert sandbox_host_name(pod(hostNetwork=True), "cluster.local") == ""


def requests(**limits: Any) -> dict[str, Any]:
    return container(resources=limits)


@pytest.mark.parametrize(("spec", "expected"), [
    (pod(), "BestEffort"),
    (pod(requests(requests={"cpu": "1"})), "Burstable"),
    (pod(requests(limits={"cpu": "1", "memory": "1Gi"})), "Guaranteed"),
    (pod(requests(limits={"cpu": "1", "memory": "1Gi"}, requests={"cpu": "1", "memory": "1Gi"})), "Guaranteed"),
    (pod(requests(limits={"cpu": "1", "memory": "1Gi"}, requests={"cpu": "500m", "memory": "1Gi"})), "Burstable"),
    (pod(requests(limits={"cpu": "1", "memory": "1Gi"}), container("d")), "Burstable"),
    (pod(requests(limits={"memory": "1Gi"})), "Burstable"),
], ids=["nothing asked", "a request", "limits alone", "limits equal requests", "less requested", "one container without", "memory only"])
def test_qos(spec: dict[str, Any], expected: str) -> None:
    assert qos_class(spec) == expected


def test_kernel_numbers() -> None:
    assert [cpu_shares(milli) for milli in (0, 1, 100, 1000, 10**9)] == [2, 2, 102, 1024, 262144]
    assert [cpu_quota(milli) for milli in (0, 1, 200, 1500)] == [0, 1000, 20000, 150000]
    capacity = 16 << 30
    assert oom_score(pod(), container(), capacity) == 1000
    burstable = requests(requests={"memory": "4Gi"})
    assert oom_score(pod(burstable), burstable, capacity) == 750
    guaranteed = requests(limits={"cpu": "1", "memory": "1Gi"})
    assert oom_score(pod(guaranteed), guaranteed, capacity) == -997
    made = container_resources(pod(guaranteed), guaranteed, capacity, v2=True)
    assert (made.cpu_quota, made.cpu_shares, made.memory_limit_in_bytes, made.unified["memory.oom.group"]) == (100000, 1024, 1 << 30, "1")
    assert "memory.swap.max" not in made.unified
    swapping = requests(requests={"memory": "4Gi"}, limits={"memory": "8Gi"})
    assert container_resources(pod(swapping), swapping, capacity, v2=True, swap=8 << 30).unified["memory.swap.max"] == str(2 << 30)
    assert container_resources(pod(guaranteed), guaranteed, capacity, v2=True, swap=8 << 30).memory_swap_limit_in_bytes == 1 << 30


def test_a_stop_signal_is_the_runtimes_number_and_shown_where_it_was_asked_for() -> None:
    assert [stop_signal(name) for name in ("", "SIGTERM", "SIGUSR1", "SIGRTMIN", "SIGRTMIN+15", "SIGRTMAX-14", "SIGRTMAX")] == [
        0, 23, 29, 35, 50, 51, 65]
    assert all(signal_name(stop_signal(name)) == name for name in ("SIGHUP", "SIGRTMAX-1"))


def test_namespaces_and_ports() -> None:
    assert namespaces(pod()).pid == pb.CONTAINER
    assert namespaces(pod(shareProcessNamespace=True)).pid == pb.POD
    assert namespaces(pod(hostPID=True, hostNetwork=True)).network == pb.NODE
    ports = port_mappings([container(ports=[{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}])])
    assert [(port.container_port, port.host_port) for port in ports] == [(80, 8080)]


@pytest.mark.parametrize(("context", "image", "message"), [
    ({"runAsNonRoot": True, "runAsUser": 0}, pb.Image(), "runAsUser breaks non-root policy"),
    ({"runAsNonRoot": True}, pb.Image(), "image will run as root"),
    ({"runAsNonRoot": True}, pb.Image(username="web"), "image has non-numeric user"),
], ids=["root asked for", "an image that names no user", "an image with a name"])
def test_non_root_is_verified(context: dict[str, Any], image: pb.Image, message: str) -> None:
    with pytest.raises(SecurityError, match=message):
        verify_non_root(pod(container(securityContext=context)), container(securityContext=context), image)


def test_the_container_context_wins_over_the_pods() -> None:
    own = container(securityContext={"runAsUser": 5, "capabilities": {"add": ["NET_ADMIN"]}, "allowPrivilegeEscalation": False})
    made = container_context(pod(own, securityContext={"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]}), own,
                             None,
                             root="/r", seccomp_default=False)
    assert (made.run_as_user.value, made.run_as_group.value, list(made.supplemental_groups)) == (5, 2, [3, 4])
    assert made.no_new_privs
    assert list(made.capabilities.add_capabilities) == ["NET_ADMIN"]
    assert made.seccomp.profile_type == pb.SecurityProfile.Unconfined
    assert "/proc/kcore" in made.masked_paths


@pytest.mark.parametrize(("text", "expected"), [
    ("A=1\n# no\n\nB=two words \n", {"A": "1", "B": "two words"}), ("A='1\n2'\nB=3", {"A": "1\n2", "B": "3"}), ("A=", {"A": ""}),
], ids=["plain lines", "quotes over several lines", "an empty value"])
def test_env_files(text: str, expected: dict[str, str]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["A", "A='1", "A='1' x", "=1"])
def test_env_files_that_are_none(text: str) -> None:
    with pytest.raises(EnvFileError):
        parse(text)


def test_an_env_file_is_read_in_its_volume_and_nowhere_else(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "d").mkdir(parents=True)
    (volume / "d" / "e.env").write_text("KEY=value\n")
    (tmp_path / "secret").write_text("KEY=stolen\n")
    (volume / "link").symlink_to(tmp_path / "secret")
    (volume / "out").symlink_to(tmp_path)
    assert read_file(volume, "d/e.env") == "KEY=value\n"
    assert read_file(volume, "none") is None
    for path in ("../secret", "link", "out/secret", "d"):
        with pytest.raises(EnvFileError):
            read_file(volume, path)

    def variable(key: str, **fields: Any) -> dict[str, Any]:
        return {"env": [{"name": "V", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "d/e.env", "key": key, **fields}}}]}

    sources = Sources(lambda kind, name: None, files=lambda name, path: read_file(volume, path))
    assert environment(pod(), variable("KEY"), sources)["V"] == "value"
    assert "V" not in environment(pod(), variable("NO", optional=True), sources)
    with pytest.raises(EnvError, match=r'environment variable key "NO" not found in file "d/e\.env"'):
        environment(pod(), variable("NO"), sources)
