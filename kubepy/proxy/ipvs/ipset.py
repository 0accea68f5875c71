"""The ipsets, under upstream's names, and input for `ipset restore`. Pure."""
from __future__ import annotations

from collections.abc import Mapping, Set

from kubepy.proxy.model import Family

LOOP_BACK, CLUSTER_IP = "KUBE-LOOP-BACK", "KUBE-CLUSTER-IP"
EXTERNAL_IP, EXTERNAL_IP_LOCAL = "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"
BALANCER, BALANCER_LOCAL = "KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL"
BALANCER_FIREWALL, BALANCER_SOURCE_CIDR = "KUBE-LOAD-BALANCER-FW", "KUBE-LOAD-BALANCER-SOURCE-CIDR"
BALANCER_SOURCE_IP = "KUBE-LOAD-BALANCER-SOURCE-IP"
NODE_PORT = {"TCP": "KUBE-NODE-PORT-TCP", "UDP": "KUBE-NODE-PORT-UDP", "SCTP": "KUBE-NODE-PORT-SCTP-HASH"}
NODE_PORT_LOCAL = {"TCP": "KUBE-NODE-PORT-LOCAL-TCP", "UDP": "KUBE-NODE-PORT-LOCAL-UDP", "SCTP": "KUBE-NODE-PORT-LOCAL-SCTP-HASH"}
HEALTH_CHECK, IPVS_IPS = "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS"

TYPES = {
    LOOP_BACK: "hash:ip,port,ip", CLUSTER_IP: "hash:ip,port", EXTERNAL_IP: "hash:ip,port", EXTERNAL_IP_LOCAL: "hash:ip,port",
    BALANCER: "hash:ip,port", BALANCER_LOCAL: "hash:ip,port", BALANCER_FIREWALL: "hash:ip,port",
    BALANCER_SOURCE_IP: "hash:ip,port,ip", BALANCER_SOURCE_CIDR: "hash:ip,port,net",
    NODE_PORT["TCP"]: "bitmap:port", NODE_PORT["UDP"]: "bitmap:port", NODE_PORT["SCTP"]: "hash:ip,port",
    NODE_PORT_LOCAL["TCP"]: "bitmap:port", NODE_PORT_LOCAL["UDP"]: "bitmap:port", NODE_PORT_LOCAL["SCTP"]: "hash:ip,port",
    HEALTH_CHECK: "bitmap:port", IPVS_IPS: "hash:ip",
}
_TEMPORARY = "KUBE-SYNCING"


def name(one: str, family: Family) -> str:
    """IPv6 sets have a 6 in their names, which are cut where they get too long."""
    return one if family == "IPv4" else one.replace("KUBE-", "KUBE-6-", 1)[:31]


def _create(as_name: str, one: str, family: Family) -> str:
    kind = TYPES[one]
    rest = "range 0-65535" if kind == "bitmap:port" else f"family {'inet' if family == 'IPv4' else 'inet6'} hashsize 1024 maxelem 1048576"
    return f"create {as_name} {kind} {rest} -exist"


def full(members: Mapping[str, Set[str]], family: Family) -> str:
    """Each set is filled under another name and swapped: no packet meets a half-filled one."""
    out: list[str] = []
    for one in TYPES:
        out += [_create(name(one, family), one, family), f"destroy {_TEMPORARY} -exist", _create(_TEMPORARY, one, family)]
        out += [f"add {_TEMPORARY} {member}" for member in sorted(members.get(one, ()))]
        out += [f"swap {_TEMPORARY} {name(one, family)}", f"destroy {_TEMPORARY}"]
    return "\n".join(out) + "\n"


def partial(old: Mapping[str, Set[str]], new: Mapping[str, Set[str]], family: Family) -> str:
    """What differs; "" where nothing does."""
    out: list[str] = []
    for one in TYPES:
        before, after = old.get(one, frozenset()), new.get(one, frozenset())
        if before != after:
            out += [f"add {name(one, family)} {member} -exist" for member in sorted(after - before)]
            out += [f"del {name(one, family)} {member} -exist" for member in sorted(before - after)]
    return "\n".join(out) + "\n" if out else ""


def destroy(family: Family) -> str:
    """For clean-up."""
    return "".join(f"destroy {name(one, family)} -exist\n" for one in (*TYPES, _TEMPORARY))
