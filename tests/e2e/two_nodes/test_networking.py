"""Services, DNS and pods' connections on two real nodes, and what the conformance suite demands of them.

| conformance test (sig-network) | shown by |
| --- | --- |
| Networking: intra-pod and node-pod communication, http and udp | test_every_pod_and_node_reaches_every_pod |
| Services: basic endpoints, multiport, same port with two protocols; EndpointSlice and Endpoints of matching pods, and of none | \
test_endpoints_follow_pods, test_ports_and_protocols |
| Services: session affinity for ClusterIP and NodePort, switched off again | test_session_affinity |
| Services: NodePort, and changes between ClusterIP, NodePort and ExternalName | test_types_change, test_session_affinity |
| DNS: cluster, services, partial names, hostname, subdomain, ExternalName, /etc/hosts, dnsConfig | test_names, test_types_change, \
test_a_pod_may_bring_its_own_dns |
| EndpointSlice: several addresses and ports in several slices; mirroring of Endpoints | test_hand_made_slices, test_mirrored_endpoints |
| DNS of each node, and the others' when it is dead (kubepy's own) | test_every_node_has_a_dns_of_its_own_and_that_of_others_in_need |
| HostPort: same port, other address or protocol | test_host_ports |
| Proxy: through a service and a pod | test_proxy |
| API server: secure service, endpoints and slices of kubernetes.default; found among all namespaces | test_the_kubernetes_service |
| Service endpoints latency | test_endpoints_are_quick |

API operations of the group's kinds are the recorded conversations' and tests/integration/clients'.
"""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local_cluster import LocalCluster, Node
from tests.e2e.cluster import eventually
from tests.e2e.space import Space
from tests.images import ECHO

URL = "cgi-bin/index.cgi"
# The busybox of the tests' images has no UDP; the machine's perl, seen through a volume, has.
PERL = "/usr/bin/perl -MIO::Socket -e"
ANSWER = f"""{PERL} '$s = IO::Socket::INET->new(LocalPort => 8081, Proto => "udp"); while ($s->recv($x, 9)) {{ $s->send(`hostname`) }}'"""
ASK = f"""{PERL} '$s = IO::Socket::INET->new(PeerAddr => "%s:%d", Proto => "udp"); $s->send("x"); alarm 2; $s->recv($x, 99); print $x'"""
MACHINE = [{"name": name, "mountPath": f"/{name}", "readOnly": True} for name in ("usr", "lib", "lib64")]
SERVE = f"mkdir -p /alt/cgi-bin; cp /www/cgi-bin/index.cgi /alt/cgi-bin; {ANSWER} & httpd -p 8082 -h /alt; exec httpd -f -p 8080 -h /www"


def pod(name: str, node: Node | None = None, labels: Any = None, command: str = SERVE, ports: Any = (), **spec: Any) -> Any:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
            "spec": {"terminationGracePeriodSeconds": 0, **({"nodeName": node.name} if node else {}), "containers": [
                {"name": "c", "image": ECHO, "imagePullPolicy": "Never", "command": ["sh", "-c", command], "ports": list(ports),
                 "volumeMounts": MACHINE}],
                "volumes": [{"name": item["name"], "hostPath": {"path": item["mountPath"]}} for item in MACHINE], **spec}}


def service(name: str, ports: Any = ({"port": 80, "targetPort": 8080},), selector: Any = None, **spec: Any) -> Any:
    ports = [{"name": f"p{number}", **port} for number, port in enumerate(ports)] if ports else None
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {key: value for key, value in {"selector": selector, "ports": ports, **spec}.items() if value is not None}}


class Wires(Space):
    """A namespace for this module."""

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__(cluster.kubectl, "wires")
        self.cluster = cluster
        self.nodes = cluster.nodes

    def clear(self) -> None:
        """Removes what an attempt before this one may have left: all but the two servers."""
        kinds = "pods,services,endpoints,endpointslices"
        left = [name for name in self.kubectl("get", kinds, "-o", "name").split() if name not in ("pod/one", "pod/two")]
        if left:
            self.kubectl("delete", *left, "--grace-period=0", "--force", "--ignore-not-found", "--timeout=150s")

    def patch(self, kind: str, name: str, spec: Any) -> None:
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def ready(self, *names: str) -> None:
        self.kubectl("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names), "--timeout=150s")

    def sh(self, name: str, command: str) -> str:
        return self.kubectl("exec", name, "--", "sh", "-c", command, check=False).strip()

    def address(self, name: str) -> str:
        return str(self.get("pod", name)["status"]["podIP"])

    def fetch(self, source: str, where: str) -> str:
        """The host name of the pod that answers another's HTTP request; "" when none does."""
        return self.sh(source, f"timeout 3 wget -q -O - http://{where}/{URL} 2>/dev/null || true")

    def ask(self, source: str, host: str, port: int) -> str:
        """The same by UDP."""
        return self.sh(source, f"{ASK % (host, port)} 2>/dev/null || true")

    def curl(self, node: Node, where: str) -> str:
        return node.run("curl", "-s", "--max-time", "5", f"http://{where}/{URL}", check=False).strip()

    def reached(self, source: str, where: str, times: int = 10) -> set[str]:
        return set(self.sh(source, f"for i in $(seq {times}); do timeout 3 wget -q -O - http://{where}/{URL}; done 2>/dev/null").split())

    def slices(self, name: str) -> set[tuple[str, int]]:
        """Ready addresses and ports of a service's slices."""
        return {(address, port["port"]) for item in self.get("endpointslices", "-l", f"kubernetes.io/service-name={name}")["items"]
                for endpoint in item["endpoints"] or () if endpoint["conditions"].get("ready") for address in endpoint["addresses"]
                for port in item["ports"] or ()}

    def endpoints(self, name: str) -> set[tuple[str, int]]:
        return {(address["ip"], port["port"]) for subset in self.get("endpoints", name).get("subsets") or ()
                for address in subset.get("addresses") or () for port in subset["ports"]}


@pytest.fixture(scope="module")
def wires(two_nodes: LocalCluster) -> Iterator[Wires]:
    """Two servers, `one` and `two`, each on its node; both are labelled app=web."""
    found = Wires(two_nodes)
    found.apply(*(pod(name, node, {"app": "web"}) for name, node in zip(("one", "two"), two_nodes.nodes, strict=True)))
    found.ready("one", "two")
    yield found
    found.delete()


@pytest.fixture(autouse=True)
def cleared(wires: Wires, repeated: bool) -> None:
    if repeated:
        wires.clear()


def test_every_pod_and_node_reaches_every_pod(wires: Wires) -> None:
    for target in ("one", "two"):
        address = wires.address(target)
        for source in ("one", "two"):
            eventually("the pod answers", lambda: wires.fetch(source, f"{address}:8080") == target)
            eventually("the pod answers by UDP", lambda: wires.ask(source, address, 8081) == target)
        for node in wires.nodes:
            eventually("a node is answered", lambda: wires.curl(node, f"{address}:8080") == target)
            eventually("by UDP too", lambda: node.run("sh", "-c", ASK % (address, 8081), check=False).strip() == target)


def test_endpoints_follow_pods(wires: Wires) -> None:
    wires.apply(service("basic", selector={"app": "basic"}))
    eventually("there is an empty slice", lambda: wires.get("endpointslices", "-l", "kubernetes.io/service-name=basic")["items"])
    assert wires.endpoints("basic") == wires.slices("basic") == set()
    wires.apply(*(pod(f"basic-{number}", node, {"app": "basic"}) for number, node in enumerate(wires.nodes)))
    wires.ready("basic-0", "basic-1")
    addresses = {(wires.address(f"basic-{number}"), 8080) for number in range(2)}
    eventually("both are endpoints", lambda: wires.endpoints("basic") == wires.slices("basic") == addresses)
    eventually("both answer", lambda: wires.reached("one", "basic") == {"basic-0", "basic-1"})
    wires.kubectl("delete", "pod", "basic-0", "--grace-period=0", "--force")
    eventually("one is left", lambda: len(wires.slices("basic")) == 1 and wires.slices("basic") == wires.endpoints("basic"))
    eventually("only it answers", lambda: wires.reached("one", "basic", 8) == {"basic-1"})
    wires.kubectl("delete", "service", "basic")
    eventually("its slices go with it", lambda: not wires.get("endpointslices", "-l", "kubernetes.io/service-name=basic")["items"])
    eventually("and its endpoints", lambda: "basic" not in wires.kubectl("get", "endpoints", "-o", "name"))


def test_ports_and_protocols(wires: Wires) -> None:
    wires.apply(service("ports", ({"port": 80, "targetPort": 8080}, {"port": 80, "targetPort": 8081, "protocol": "UDP"},
                                  {"port": 81, "targetPort": 8082}), {"app": "web"}))
    host = wires.get("service", "ports")["spec"]["clusterIP"]
    eventually("TCP is balanced", lambda: wires.reached("one", f"{host}:80") == {"one", "two"})
    eventually("the second port too", lambda: wires.reached("two", f"{host}:81") == {"one", "two"})
    eventually("UDP answers on the same port", lambda: wires.ask("one", host, 80) in ("one", "two"))


def test_session_affinity(wires: Wires) -> None:
    wires.apply(service("sticky", selector={"app": "web"}, type="NodePort", sessionAffinity="ClientIP"))
    spec = wires.get("service", "sticky")["spec"]
    where = {"cluster": f"{spec['clusterIP']}:80", "node": f"{wires.nodes[1].address}:{spec['ports'][0]['nodePort']}"}
    for way in where.values():
        eventually("a client stays with one pod", lambda: len(wires.reached("one", way, 12)) == 1)
    wires.patch("service", "sticky", {"sessionAffinity": "None"})
    for way in where.values():
        eventually("clients are balanced again", lambda: wires.reached("one", way, 12) == {"one", "two"})
    port = spec["ports"][0]["nodePort"]
    for node in wires.nodes:
        eventually("on every node", lambda: {wires.curl(node, f"{other.address}:{port}") for other in wires.nodes for _ in range(8)} == {
            "one", "two"})


def cname(wires: Wires, name: str) -> str:
    found = re.search(r"canonical name = (\S+)", wires.sh("one", f"timeout 5 nslookup {name}.{wires.namespace}.svc.cluster.local"))
    return found.group(1).rstrip(".") if found else ""


def test_types_change(wires: Wires) -> None:
    wires.apply(service("changing", None, type="ExternalName", externalName="first.example.com"))
    eventually("an alias", lambda: cname(wires, "changing") == "first.example.com")
    wires.patch("service", "changing", {"externalName": "second.example.com"})
    eventually("another alias", lambda: cname(wires, "changing") == "second.example.com")
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    for kind in ("ClusterIP", "NodePort"):
        wires.patch("service", "changing", {"type": kind, "externalName": None, "ports": ports, "selector": {"app": "web"}})
        eventually(f"a {kind} answers by its name", lambda: wires.reached("one", f"changing.{wires.namespace}") == {"one", "two"})
        if kind == "NodePort":
            port = wires.get("service", "changing")["spec"]["ports"][0]["nodePort"]
            eventually("and on each node", lambda: wires.curl(wires.nodes[1], f"{wires.nodes[0].address}:{port}") in ("one", "two"))
        wires.patch("service", "changing", {"type": "ExternalName", "externalName": "third.example.com", "clusterIP": None,
                                            "clusterIPs": None})
        eventually("an alias again", lambda: cname(wires, "changing") == "third.example.com")


def test_names(wires: Wires) -> None:
    space = wires.namespace
    wires.apply(service("plain", selector={"app": "web"}), service("headless", ({"port": 80, "targetPort": 8080},), {"app": "named"},
                                                                    clusterIP="None"),
                pod("named", wires.nodes[1], {"app": "named"}, hostname="server", subdomain="headless"))
    wires.ready("named")
    for name in ("plain", f"plain.{space}", f"plain.{space}.svc", f"plain.{space}.svc.cluster.local"):
        eventually(f"{name} is found", lambda: wires.fetch("one", name) in ("one", "two"))
    full = f"server.headless.{space}.svc.cluster.local"
    address = wires.address("named")
    eventually("a pod's own name", lambda: address in wires.sh("one", f"timeout 5 nslookup {full}"))
    eventually("a headless service", lambda: address in wires.sh("one", f"timeout 5 nslookup headless.{space}.svc.cluster.local"))
    eventually("its port", lambda: full in wires.sh("one", f"timeout 5 nslookup -type=srv _p0._tcp.headless.{space}.svc.cluster.local"))
    address_of_plain = wires.get("service", "plain")["spec"]["clusterIP"]
    eventually("a service", lambda: address_of_plain in wires.sh("one", f"timeout 5 nslookup plain.{space}.svc.cluster.local"))
    assert wires.sh("named", "hostname") == "server"
    assert wires.sh("named", "hostname -f") == full
    assert re.search(rf"^{re.escape(address)}\s+{re.escape(full)}\s+server$", wires.sh("named", "cat /etc/hosts"), re.M)
    eventually("the API server's", lambda: "10.96.0.1" in wires.sh("one", "timeout 5 nslookup kubernetes.default.svc.cluster.local"))
    assert "10-96-0-1" not in wires.sh("one", "timeout 5 nslookup nothing.default.svc.cluster.local")


def test_a_pod_may_bring_its_own_dns(wires: Wires) -> None:
    wires.apply(pod("own-dns", dnsPolicy="None", dnsConfig={"nameservers": ["1.1.1.1"], "searches": ["resolv.conf.local"],
                                                           "options": [{"name": "ndots", "value": "3"}]}))
    wires.ready("own-dns")
    assert wires.sh("own-dns", "cat /etc/resolv.conf").splitlines() == ["search resolv.conf.local", "nameserver 1.1.1.1", "options ndots:3"]


def test_hand_made_slices(wires: Wires) -> None:
    wires.apply(service("hand", ({"port": 80}, {"port": 81})))
    for name, target in (("one", "two"), ("two", "one")):  # a slice for each address, with its own target ports
        wires.apply({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "metadata": {
            "name": f"hand-{name}", "labels": {"kubernetes.io/service-name": "hand"}},
            "ports": [{"name": "p0", "port": 8080}, {"name": "p1", "port": 8082}],
            "endpoints": [{"addresses": [wires.address(target)], "conditions": {"ready": True}}]})
    for port in (80, 81):
        eventually("both addresses answer", lambda: wires.reached("one", f"hand:{port}") == {"one", "two"})


def test_mirrored_endpoints(wires: Wires) -> None:
    def endpoints(*names: str) -> Any:
        return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "mirror"}, "subsets": [
            {"addresses": [{"ip": wires.address(name)} for name in names], "ports": [{"name": "p0", "port": 8080}]}]}

    wires.apply(service("mirror"), endpoints("one"))
    eventually("it is mirrored", lambda: wires.slices("mirror") == {(wires.address("one"), 8080)})
    eventually("and served", lambda: wires.fetch("two", "mirror") == "one")
    wires.apply(endpoints("two"))
    eventually("a change is mirrored", lambda: wires.slices("mirror") == {(wires.address("two"), 8080)})
    wires.kubectl("delete", "endpoints", "mirror")
    eventually("so is the end", lambda: not wires.get("endpointslices", "-l", "kubernetes.io/service-name=mirror")["items"])


def test_host_ports(wires: Wires) -> None:
    node, port = wires.nodes[1], 54323
    wires.apply(*(pod(name, node, ports=[{"containerPort": 8081 if protocol == "UDP" else 8080, "hostPort": port, "hostIP": address,
                                          "protocol": protocol}])
                  for name, address, protocol in (("port-a", "127.0.0.1", "TCP"), ("port-b", node.address, "TCP"),
                                                  ("port-c", node.address, "UDP"))))
    wires.ready("port-a", "port-b", "port-c")
    assert eventually("the loopback's", lambda: wires.curl(node, f"127.0.0.1:{port}")) == "port-a"
    assert eventually("the node's", lambda: wires.curl(wires.nodes[0], f"{node.address}:{port}")) == "port-b"
    assert eventually("UDP", lambda: wires.ask("one", node.address, port)) == "port-c"


def test_proxy(wires: Wires) -> None:
    wires.apply(service("proxied", selector={"app": "web"}), service("single", selector={"app": "web"}))
    wires.kubectl("patch", "service", "single", "--type=json", "-p", '[{"op": "remove", "path": "/spec/ports/0/name"}]')
    base = f"/api/v1/namespaces/{wires.namespace}"
    for path in (f"pods/one:8080/proxy/{URL}", f"pods/http:one:8080/proxy/{URL}", f"pods/two:8082/proxy/{URL}"):
        name = path.split("/")[1].removeprefix("http:").split(":")[0]
        eventually("the pod answers", lambda: wires.kubectl("get", "--raw", f"{base}/{path}").strip() == name)
    for path in (f"services/proxied:80/proxy/{URL}", f"services/http:proxied:p0/proxy/{URL}", f"services/single/proxy/{URL}"):
        eventually("a pod answers", lambda: wires.kubectl("get", "--raw", f"{base}/{path}").strip() in ("one", "two"))
    assert wires.kubectl("create", "--raw", f"{base}/pods/one:8080/proxy/{URL}", "-f", "-", input="{}").strip() == "one"
    assert "404" in wires.kubectl("get", "--raw", f"{base}/pods/one:8080/proxy/nothing", check=False) \
        or "not find" in wires.kubectl("get", "--raw", f"{base}/pods/one:8080/proxy/nothing", check=False)


def test_the_kubernetes_service(wires: Wires) -> None:
    def named(kind: str) -> Any:
        found = json.loads(wires.cluster.kubectl("get", kind, "-A", "-o", "json"))["items"]
        return next(item for item in found if (item["metadata"]["namespace"], item["metadata"]["name"]) == ("default", "kubernetes"))

    spec, expected = named("services")["spec"], {(wires.nodes[0].address, 6443)}
    assert [(port["name"], port["port"]) for port in spec["ports"]] == [("https", 443)]
    found = named("endpoints")["subsets"]
    assert {(address["ip"], port["port"]) for item in found for address in item["addresses"] for port in item["ports"]} == expected
    found = named("endpointslices")
    assert {(address, port["port"]) for item in found["endpoints"] for address in item["addresses"] for port in found["ports"]} == expected
    eventually("it answers on each node", lambda: all(
        "v1.36" in node.run("curl", "-sk", "--max-time", "5", f"https://{spec['clusterIP']}/version") for node in wires.nodes))


def test_endpoints_are_quick(wires: Wires) -> None:
    began = time.monotonic()
    wires.apply(*(service(f"quick-{number}", selector={"app": "web"}) for number in range(20)))
    eventually("all have endpoints", lambda: sum(bool(item.get("subsets")) for item in wires.get("endpoints")["items"]
                                                 if item["metadata"]["name"].startswith("quick-")) == 20)
    assert time.monotonic() - began < 100
    wires.kubectl("delete", "service", *(f"quick-{number}" for number in range(20)))


def resolves(wires: Wires, source: str) -> bool:
    return "10.96.0.1" in wires.sh(source, "timeout 10 nslookup kubernetes.default.svc.cluster.local").replace("10.96.0.10", "")


def test_every_node_has_a_dns_of_its_own_and_that_of_others_in_need(wires: Wires) -> None:
    def serving() -> set[str]:
        return {endpoint["nodeName"] for item in json.loads(wires.cluster.kubectl(
            "get", "endpointslices", "-n", "kube-system", "-l", "kubernetes.io/service-name=kube-dns", "-o", "json"))["items"]
            for endpoint in item["endpoints"] if endpoint["conditions"]["ready"]}

    first, second = wires.nodes
    eventually("both serve", lambda: serving() == {first.name, second.name})
    eventually("both resolve", lambda: resolves(wires, "one") and resolves(wires, "two"))
    dns = next(part["pid"] for part in json.loads(first.kubepy("status", f"--data-dir={first.data}", "-o", "json", check=False))["parts"]
               if part["name"] == "dns")
    os.kill(dns, signal.SIGSTOP)  # it takes questions and says nothing, as on a machine that is lost
    try:
        assert all(resolves(wires, "two") for _ in range(3)), "the other node's pods do not notice"
        eventually("its pods ask the other node's", lambda: resolves(wires, "one"), 60)
        eventually("only the other is an endpoint", lambda: serving() == {second.name})
    finally:
        os.kill(dns, signal.SIGCONT)
    eventually("it is back", lambda: serving() == {first.name, second.name}, 60)


STREAM = "while true; do date +%s; sleep 0.2; done"


def test_a_connection_outlives_the_proxy_and_the_control_plane(wires: Wires) -> None:
    """Through a cluster IP, across nodes: a stream that must not break while the proxy is killed and the API server is away."""
    wires.apply(pod("streaming", wires.nodes[1], {"app": "streaming"}, f"nc -ll -p 9000 -e /bin/sh -c '{STREAM}'"),
                service("streaming", ({"port": 9000},), {"app": "streaming"}))
    wires.ready("streaming")
    eventually("it answers", lambda: wires.sh("one", "timeout 2 nc streaming 9000 | head -n 1"))
    wires.kubectl("exec", "one", "--", "sh", "-c", "nc streaming 9000 >/tmp/stream 2>/dev/null &")
    process = subprocess.run(["pgrep", "-f", f"kubepy.cli.main proxy .*{wires.nodes[0].data}"], capture_output=True, text=True, check=True)
    proxy = int(process.stdout.split()[0])
    server = next(part["pid"] for part in json.loads(wires.nodes[0].kubepy("status", f"--data-dir={wires.nodes[0].data}", "-o", "json",
                                                                           check=False))["parts"] if part["name"] == "apiserver")
    wires.apply(service("steady", selector={"app": "web"}))
    address = wires.get("service", "steady")["spec"]["clusterIP"]
    eventually("a service across the nodes", lambda: wires.curl(wires.nodes[0], address))
    os.kill(proxy, signal.SIGKILL)
    os.kill(server, signal.SIGSTOP)
    try:
        for _ in range(8):
            assert wires.curl(wires.nodes[0], address) in ("one", "two")
            time.sleep(0.5)
    finally:
        os.kill(server, signal.SIGCONT)
    eventually("the control plane is back", lambda: wires.sh("one", "echo here") == "here")
    now, last = wires.sh("one", "date +%s; tail -n 1 /tmp/stream").split()
    assert int(now) - int(last) <= 15, "the stream has stopped"


def test_a_split_network_heals(wires: Wires) -> None:
    target, node = wires.address("two"), wires.cluster.nodes[1]
    node.unplug()
    try:
        assert wires.curl(wires.nodes[0], f"{target}:8080") != "two"
    finally:
        node.plug()
    eventually("the other node is reached again", lambda: wires.curl(wires.nodes[0], f"{target}:8080") == "two")
    eventually("both nodes are Ready", lambda: all(condition["status"] == "True" for item in wires.get("nodes")["items"]
                                                  for condition in item["status"]["conditions"] if condition["type"] == "Ready"))
