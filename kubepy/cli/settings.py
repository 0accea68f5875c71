"""What a cluster on this machine is made of, and where each part of it lives on disk.

`kubepy up` saves its settings beside the data, so that `status`, `down` and a later `up` need no flags.
"""
from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

import orjson

DEFAULT_DATA = Path("/var/lib/kubepy")

Role = Literal["control-plane", "node"]
"""`control-plane` is what `kubepy up` makes (a node with everything on it), `node` what `kubepy join` adds to it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """This machine's part of a cluster. Ports are TCP; addresses and CIDRs are text as in the flags they become.

    `node_ip`, `service_cidr` and `pod_cidr` hold one value, or one for each address family, separated by a comma (dual stack)."""

    data_dir: Path = DEFAULT_DATA
    role: Role = "control-plane"
    api_server: str = ""
    """A joined node's API server (a URL); empty on the control plane, whose components use the loopback."""
    node_name: str = ""
    node_ip: str = ""
    cert_extra_sans: str = ""
    """Further names and addresses of the API server's certificate, separated by commas."""
    secure_port: int = 6443
    kubelet_port: int = 10250
    dns_port: int = 10053
    metrics_port: int = 4443
    etcd_port: int = 2379
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str = "10.244.0.0/16"
    load_balancer_pool: str = "198.18.0.0/24"
    """Addresses for services of type LoadBalancer (by default of a range that is never routed); empty for none."""
    cluster_domain: str = "cluster.local"
    etcd_servers: str = ""
    """Empty: an etcd of its own."""
    etcd_cafile: str = ""
    etcd_certfile: str = ""
    etcd_keyfile: str = ""
    """How to reach `etcd_servers` where they speak TLS."""
    runtime_endpoint: str = ""
    """Empty: a containerd of its own."""
    network_backend: str = "host-gw"
    """How pods reach those of other nodes: host-gw, vxlan, or none (left to a network add-on)."""
    proxy_mode: str = "iptables"
    """How this node's proxy makes Services reachable: iptables, nftables or ipvs."""
    cgroup_driver: str = "cgroupfs"
    """Who makes control groups, for containerd and the kubelet alike: cgroupfs, or systemd where that runs (chosen by `up` and `join`)."""
    kubelet_config: str = ""
    """A KubeletConfiguration file; the flags that these settings become win over it."""
    mtu: int = 0
    """Of the pods' interfaces; 0: worked out from the interface that has the node's address."""
    dns: bool = True
    """Our own cluster DNS; without it the Service `kube-dns` is left to an add-on."""
    ingress: bool = False
    """An Ingress controller on this machine's ports 80 and 443."""
    runtime_config: str = ""
    """API versions that are off by default, and to be served: `group/version=true,…`."""
    feature_gates: str = ""
    """Features of the control plane that are to be on or off: `Name=true,…`."""
    workers: int = 1
    verbosity: int = 2

    @property
    def run_dir(self) -> Path:
        """Sockets and what need not survive a reboot: `/run/kubepy` for the default data directory, else inside it."""
        return Path("/run/kubepy") if self.data_dir == DEFAULT_DATA else self.data_dir / "run"

    @property
    def pki_dir(self) -> Path:
        return self.data_dir / "pki"

    @property
    def audit_policy(self) -> Path:
        return self.data_dir / "audit-policy.yaml"

    @property
    def encryption_config(self) -> Path:
        """Holds the key that secrets in etcd are encrypted with."""
        return self.data_dir / "encryption.yaml"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "log"

    @property
    def state_file(self) -> Path:
        return self.run_dir / "supervisor.json"

    @property
    def network_ready_file(self) -> Path:
        """Written by the proxy once network policies are in force, read by the kubelet (`base.boot`)."""
        return self.run_dir / "network-ready"

    @property
    def lock_file(self) -> Path:
        return self.run_dir / "supervisor.lock"

    @property
    def containerd_dir(self) -> Path:
        return self.data_dir / "containerd"

    @property
    def cni_conf_dir(self) -> Path:
        return self.data_dir / "cni" / "net.d"

    @property
    def pod_logs_dir(self) -> Path:
        """Where log collectors expect it, but apart for a second cluster on one machine."""
        return Path("/var/log/pods") if self.data_dir == DEFAULT_DATA else self.data_dir / "pod-logs"

    @property
    def cgroup_root(self) -> str:
        """The parent of the pods' cgroups; each further cluster on a machine has its own."""
        return "/" if self.data_dir == DEFAULT_DATA else f"/kubepy-{sha256(bytes(self.data_dir)).hexdigest()[:8]}"

    @property
    def containerd_socket(self) -> Path:
        return self.run_dir / "containerd" / "containerd.sock"

    @property
    def cri_endpoint(self) -> str:
        return self.runtime_endpoint or f"unix://{self.containerd_socket}"

    @property
    def server(self) -> str:
        """The API server's URL as this node's components use it."""
        return self.api_server or f"https://127.0.0.1:{self.secure_port}"

    @property
    def client(self) -> Path:
        """The kubeconfig these commands use: the administrator's, or on a joined node, which has none, the node's own."""
        return self.kubeconfig("admin" if self.role == "control-plane" else "kubelet")

    @property
    def address(self) -> str:
        """The node's first address: where the daemons of this machine listen and are reached."""
        return self.node_ip.split(",")[0]

    @property
    def service_ip(self) -> str:
        """The first address of the service network: the `kubernetes` Service."""
        return str(ip_network(self.service_cidr.split(",")[0])[1])

    @property
    def dns_ip(self) -> str:
        """The tenth address of the service network, as kubeadm gives to cluster DNS."""
        return str(ip_network(self.service_cidr.split(",")[0])[10])

    def kubeconfig(self, who: str) -> Path:
        return self.data_dir / f"{who}.kubeconfig"

    def save(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        values = {**asdict(self), "data_dir": str(self.data_dir)}
        target = self.data_dir / "cluster.json"
        partial = target.with_suffix(".new")
        partial.write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))
        os.chmod(partial, 0o600)
        partial.replace(target)

    @classmethod
    def load(cls, data_dir: Path) -> Settings | None:
        """The saved settings, or None where no cluster was made; raises ValueError for an unreadable file."""
        path = data_dir / "cluster.json"
        try:
            values = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        known = {field.name for field in fields(cls)}
        return cls(**{**{key: value for key, value in values.items() if key in known}, "data_dir": data_dir})


def default_node_name() -> str:
    """The machine's host name, lower-cased as node names must be."""
    return socket.gethostname().lower()


def default_node_ip() -> str:
    """The address of the interface that holds the default route, or loopback on a machine without a network."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(("203.0.113.1", 9))  # a UDP connect sends nothing: it only asks the kernel for the route
        return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
    finally:
        probe.close()


def host_port(address: str, port: int) -> str:
    """As URLs and listen flags have it: IPv6 addresses in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def default_data_dir() -> Path:
    return Path(os.environ.get("KUBEPY_DATA_DIR", str(DEFAULT_DATA)))
