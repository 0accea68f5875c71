"""Makes the files a machine needs before its parts start: certificates, kubeconfigs, the container runtime's configuration."""
from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from kubepy.cli.hardening import prepare_hardening
from kubepy.cli.pki import Pair, ensure_pki, write_kubeconfig
from kubepy.cli.preflight import cni_directory
from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings
from kubepy.kubelet.cgroup.tree import Driver, best_driver
from kubepy.kubelet.pause import pause_archive
from kubepy.kubelet.runtime import write_containerd_config
from kubepy.proxy.network.plan import pod_mtu

_SIOCGIFADDR, _SIOCGIFMTU = 0x8915, 0x8921

SYSCTLS = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1", "net/bridge/bridge-nf-call-ip6tables": "1"}
"""What pods on a bridge need to reach Services and each other."""
SYSCTLS_IPV6 = {"net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/default/accept_ra": "2", "net/ipv6/conf/all/accept_ra": "2"}
"""The same for IPv6; a machine that forwards would otherwise stop listening to the router that gave it its own route."""


def prepare_files(settings: Settings, progress: Progress) -> None:
    """Idempotent: completes what is missing and leaves the rest. A joined node's certificates come from the cluster, not from here."""
    prepare_directories(settings)
    if settings.role == "control-plane":
        prepare_identities(settings)
        progress.done("certificates and kubeconfigs", str(settings.pki_dir))
        prepare_hardening(settings)
    prepare_machine(settings, progress)


def prepare_directories(settings: Settings) -> None:
    for directory in (settings.data_dir, settings.run_dir, settings.log_dir, settings.data_dir / "manifests", settings.cni_conf_dir):
        directory.mkdir(parents=True, exist_ok=True)
    os.chmod(settings.log_dir, 0o700)


def prepare_identities(settings: Settings) -> None:
    """Certificates that are missing or end within 30 days, and the kubeconfigs; again while the cluster runs, it is its renewal."""
    pki = ensure_pki(settings.pki_dir, node_name=settings.node_name, addresses=settings.node_ip.split(","), service_ip=settings.service_ip,
                     extra_names=[name for name in settings.cert_extra_sans.split(",") if name], cluster_domain=settings.cluster_domain)
    identities: dict[str, tuple[Pair, str]] = {
        "admin": (pki.admin, "kubernetes-admin"),
        "scheduler": (pki.scheduler, "system:kube-scheduler"),
        "controller-manager": (pki.controller_manager, "system:kube-controller-manager"),
        "kubelet": (pki.kubelet_client, f"system:node:{settings.node_name}"),
        "proxy": (pki.proxy, "system:kube-proxy"),
        "dns": (pki.dns, "system:kube-dns"),
        "metrics-server": (pki.metrics_server, "system:metrics-server"),
        "ingress": (pki.pair("ingress"), "system:kubepy-ingress"),
    }
    for who, (pair, user) in identities.items():
        write_kubeconfig(settings.kubeconfig(who), settings.server, pki.ca.cert, pair.cert, pair.key, user, embed=who == "admin")


def prepare_machine(settings: Settings, progress: Progress) -> None:
    """What must be so at each start of the machine: the runtime's configuration, kernel modules and settings."""
    if not settings.runtime_endpoint:
        write_containerd_config(settings.containerd_dir, cni_conf_dir=settings.cni_conf_dir, cni_bin=str(cni_directory() or ""),
                                state=settings.containerd_socket.parent, socket=settings.containerd_socket,
                                systemd_cgroup=settings.cgroup_driver == "systemd")
    _set_sysctls(SYSCTLS | (SYSCTLS_IPV6 if ":" in settings.pod_cidr else {}), progress)


def _set_sysctls(wanted: dict[str, str], progress: Progress) -> None:
    for module in ("br_netfilter", "overlay", "nf_conntrack") if shutil.which("modprobe") else ():
        subprocess.run(["modprobe", "-q", module], check=False, capture_output=True)
    for name, value in wanted.items():
        path = Path("/proc/sys") / name
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as error:
            if "forward" in name:
                progress.warn(f"cannot set {name.replace('/', '.')}={value} ({error.strerror}); pods will not reach other networks")


def cgroup_driver(runtime_endpoint: str) -> Driver:
    """What a new cluster or node gets where nothing is asked for; a containerd of the user's own uses cgroupfs unless told otherwise."""
    return "cgroupfs" if runtime_endpoint else best_driver()


def with_mtu(settings: Settings) -> Settings:
    """Settings whose MTU is worked out where none was given; 0 stays where no interface has the node's address."""
    if settings.mtu or settings.network_backend == "none":
        return settings
    version = 6 if ":" in settings.address else 4
    return dataclasses.replace(settings, mtu=pod_mtu(_mtu_at(settings.address), settings.network_backend, version))


def _mtu_at(address: str) -> int:
    """The MTU of the interface with this IPv4 address (netlink would be slow to import here); the usual 1500 where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode())
            with contextlib.suppress(OSError):  # an interface without an address
                if socket.inet_ntoa(fcntl.ioctl(asker, _SIOCGIFADDR, request)[20:24]) == address:
                    return int(struct.unpack_from("i", fcntl.ioctl(asker, _SIOCGIFMTU, request), 16)[0])
    return 1500


async def import_pause(settings: Settings, ready: asyncio.Event) -> None:
    """Puts the sandbox image into our own containerd once it answers, so that no registry is needed to start a pod."""
    if settings.runtime_endpoint:
        return
    await ready.wait()
    command = ("ctr", "--address", str(settings.containerd_socket), "--namespace", "k8s.io", "images", "import", "-")
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                                                   stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate(pause_archive())
    if process.returncode:
        raise RuntimeError(f"the sandbox image could not be imported: {output.decode(errors='replace').strip()}")
