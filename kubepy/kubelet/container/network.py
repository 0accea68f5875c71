"""A pod's names and resolvers: host name, /etc/hosts, DNS configuration. Pure."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubepy.api.types import Object
from kubepy.kubelet.cri import runtime_pb2 as pb

_MAX_SEARCHES, _MAX_SEARCH_CHARS, _MAX_SERVERS = 32, 2048, 3


@dataclass(frozen=True, slots=True)
class Resolver:
    """A resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Resolver:
        servers: list[str] = []
        searches: tuple[str, ...] = ()
        options: tuple[str, ...] = ()
        for line in text.splitlines():
            fields = line.split("#")[0].split(";")[0].split()
            if not fields:
                continue
            if fields[0] == "nameserver" and len(fields) > 1:
                servers.append(fields[1])
            elif fields[0] in ("search", "domain"):
                searches = tuple(name.rstrip(".") or "." for name in fields[1:])
            elif fields[0] == "options":
                options = tuple(fields[1:])
        return cls(tuple(servers), searches, options)


def host_name(pod: Object, domain: str) -> tuple[str, str]:
    """The pod's host name and domain (`subdomain.namespace.svc.cluster.local`, or "")."""
    spec, metadata = pod["spec"], pod["metadata"]
    if spec.get("hostnameOverride"):
        return spec["hostnameOverride"], ""
    host = (spec.get("hostname") or metadata["name"])[:63].rstrip("-.")
    subdomain = spec.get("subdomain")
    return host, f"{subdomain}.{metadata.get('namespace') or 'default'}.svc.{domain}" if subdomain else ""


def sandbox_host_name(pod: Object, domain: str) -> str:
    """What the sandbox is told: "" with the host's network."""
    if pod["spec"].get("hostNetwork") and not pod["spec"].get("hostnameOverride"):
        return ""
    host, full = host_name(pod, domain)
    return f"{host}.{full}" if pod["spec"].get("setHostnameAsFQDN") and full else host


def hosts_file(pod: Object, ips: Sequence[str], domain: str, host_file: str = "") -> str:
    """The managed /etc/hosts; `host_file` is the node's, for pods in its network."""
    if pod["spec"].get("hostNetwork"):
        text = "# Kubernetes-managed hosts file (host network).\n" + host_file
    else:
        host, full = host_name(pod, domain)
        lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback",
                 "fe00::0\tip6-localnet", "fe00::0\tip6-mcastprefix", "fe00::1\tip6-allnodes", "fe00::2\tip6-allrouters"]
        lines += [f"{ip}\t{host}.{full}\t{host}" if full else f"{ip}\t{host}" for ip in ips]
        text = "\n".join(lines) + "\n"
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join("\t".join((alias["ip"], *(alias.get("hostnames") or ()))) + "\n" for alias in aliases)
    return text


def dns_config(pod: Object, cluster_dns: Sequence[str], domain: str, host: Resolver) -> pb.DNSConfig:
    """By the pod's DNS policy, with its own dnsConfig merged in."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and pod["spec"].get("hostNetwork"):
        policy = "Default"
    namespace = pod["metadata"].get("namespace") or "default"
    if policy == "None":
        servers, searches, options = [], [], []
    elif policy in ("ClusterFirst", "ClusterFirstWithHostNet") and cluster_dns:
        servers = list(cluster_dns)
        searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *host.searches] if domain else list(host.searches)
        options = ["ndots:5"]
    else:
        servers, searches, options = list(host.servers), list(host.searches), list(host.options)
    own = pod["spec"].get("dnsConfig") or {}
    servers = list(dict.fromkeys([*servers, *(own.get("nameservers") or ())]))
    searches = list(dict.fromkeys([*searches, *(own.get("searches") or ())]))
    merged = {option.partition(":")[0]: option for option in options}
    for option in own.get("options") or ():
        value = option.get("value")
        merged[option["name"]] = option["name"] if value is None or value == "" else f"{option['name']}:{value}"
    while len(searches) > _MAX_SEARCHES or len(" ".join(searches)) > _MAX_SEARCH_CHARS:
        searches.pop()
    return pb.DNSConfig(servers=servers[:_MAX_SERVERS], searches=searches, options=list(merged.values()))
