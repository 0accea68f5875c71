"""The small clusters whose rules are golden files, for each backend."""
from __future__ import annotations

import os
from pathlib import Path

from kubepy.proxy.model import NodeInfo, build

GOLDEN = Path(__file__).parent / "golden"


def service(name, ip="10.96.0.7", ports=((80, 0),), protocol="TCP", kind="ClusterIP", ingress=(), **spec):
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {
        "type": kind, "clusterIP": ip, "clusterIPs": [ip], **spec,
        "ports": [{"name": f"p{port}", "port": port, "protocol": protocol, **({"nodePort": node} if node else {})}
                  for port, node in ports]},
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in ingress]}}}


def pieces(*endpoints, port=80, protocol="TCP"):
    """Endpoints as (address, node, condition), condition one of ready, terminating, gone."""
    made = [{"addresses": [address], "nodeName": node, "conditions": {
        "ready": state == "ready", "serving": state != "gone", "terminating": state == "terminating"}}
        for address, node, state in endpoints]
    return [{"addressType": "IPv4", "ports": [{"name": f"p{port}", "port": 8000 + port, "protocol": protocol}], "endpoints": made}]


HERE, THERE = ("10.244.0.5", "me", "ready"), ("10.244.1.6", "other", "ready")
CASES = {
    "cluster-ip": ([service("web")], {"ns/web": pieces(HERE, THERE)}),
    "no-endpoints": ([service("web", ports=((80, 30080),), kind="NodePort", externalIPs=["192.0.2.1"])], {}),
    "udp-affinity": ([service("dns", protocol="UDP", sessionAffinity="ClientIP",
                              sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}})],
                     {"ns/dns": pieces(HERE, THERE, protocol="UDP")}),
    "node-port": ([service("web", ports=((80, 30080),), kind="NodePort")], {"ns/web": pieces(HERE, THERE)}),
    "external-local": ([service("web", ports=((80, 30080),), kind="LoadBalancer", ingress=["198.51.100.1"], externalTrafficPolicy="Local",
                                healthCheckNodePort=32000)], {"ns/web": pieces(HERE, THERE)}),
    "external-local-elsewhere": ([service("web", ports=((80, 30080),), kind="NodePort", externalTrafficPolicy="Local")],
                                 {"ns/web": pieces(THERE)}),
    "internal-local": ([service("web", internalTrafficPolicy="Local")], {"ns/web": pieces(HERE, THERE)}),
    "internal-local-elsewhere": ([service("web", internalTrafficPolicy="Local")], {"ns/web": pieces(THERE)}),
    "source-ranges": ([service("web", kind="LoadBalancer", ingress=["198.51.100.1"], loadBalancerSourceRanges=["203.0.113.0/24"])],
                      {"ns/web": pieces(HERE)}),
    "terminating": ([service("web")], {"ns/web": pieces(("10.244.0.5", "me", "terminating"), ("10.244.0.9", "me", "gone"))}),
}


def state(name, node=None):
    services, slices = CASES[name]
    return build(services, slices, node or NodeInfo("me", ip="192.168.0.1"), "IPv4")


def compare(path, text):
    """With the file of this name under `golden`; KUBEPY_UPDATE_GOLDEN=1 writes it."""
    path = GOLDEN / path
    if os.environ.get("KUBEPY_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
