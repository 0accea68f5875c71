"""The processes of this machine's part of a cluster: a pure function from settings to command lines and readiness probes."""
from __future__ import annotations

import sys
from dataclasses import dataclass

from kubepy.cli import dns, hardening
from kubepy.cli.settings import Settings, host_port


@dataclass(frozen=True, slots=True)
class Probe:
    """Where a part says that it is ready: an HTTP(S) URL that answers 200, or a Unix socket that accepts."""

    url: str = ""
    socket: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """One supervised process. `after` names those that must have been ready once before this one starts;
    `grace` is how many seconds it gets between SIGTERM and SIGKILL."""

    name: str
    argv: tuple[str, ...]
    probe: Probe
    after: tuple[str, ...] = ()
    grace: float = 10.0
    version: tuple[str, ...] = ()
    """A command that prints its version; empty for our own daemons."""


def plan_components(settings: Settings) -> tuple[Component, ...]:
    """All parts in start order; parts that `--etcd-servers` or `--container-runtime-endpoint` bring along are left out.

    A joined node runs nothing of the control plane."""
    containerd = None if settings.runtime_endpoint else _containerd(settings)
    name_server = _dns(settings) if settings.dns else None
    if settings.role == "node":
        parts = [containerd, _kubelet(settings), _proxy(settings), name_server]
    else:
        parts = [
            None if settings.etcd_servers else _etcd(settings),
            containerd,
            _apiserver(settings),
            _scheduler(settings),
            _controller_manager(settings),
            _kubelet(settings),
            _proxy(settings),
            name_server,
            _metrics_server(settings),
            _ingress(settings) if settings.ingress else None,
        ]
    known = {part.name for part in parts if part}
    return tuple(
        Component(part.name, part.argv, part.probe, tuple(name for name in part.after if name in known), part.grace, part.version)
        for part in parts if part
    )


def _own(command: str, settings: Settings, *flags: str) -> tuple[str, ...]:
    """A daemon of ours, run by the interpreter that runs this command."""
    return (sys.executable, "-m", "kubepy.cli.main", command, *flags, f"-v={settings.verbosity}")


def _gates(settings: Settings) -> tuple[str, ...]:
    return (f"--feature-gates={settings.feature_gates}",) if settings.feature_gates else ()


def _etcd(settings: Settings) -> Component:
    pki = settings.pki_dir / "etcd"
    client, peer = f"https://127.0.0.1:{settings.etcd_port}", f"https://127.0.0.1:{settings.etcd_port + 1}"
    health = f"http://127.0.0.1:{settings.etcd_port + 2}"
    argv = (
        "etcd", "--name=kubepy", f"--data-dir={settings.data_dir / 'etcd'}",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=kubepy={peer}",
        f"--listen-metrics-urls={health}",
        "--client-cert-auth", f"--trusted-ca-file={pki / 'ca.crt'}",
        f"--cert-file={pki / 'server.crt'}", f"--key-file={pki / 'server.key'}",
        "--peer-client-cert-auth", f"--peer-trusted-ca-file={pki / 'ca.crt'}", f"--peer-cert-file={pki / 'server.crt'}",
        f"--peer-key-file={pki / 'server.key'}", "--logger=zap", "--log-level=warn",
    )
    return Component("etcd", argv, Probe(url=f"{health}/health"), version=("etcd", "--version"))


def _containerd(settings: Settings) -> Component:
    argv = ("containerd", "--config", str(settings.containerd_dir / "config.toml"), "--log-level", "warn")
    return Component("containerd", argv, Probe(socket=str(settings.containerd_socket)), version=("containerd", "--version"))


def _apiserver(settings: Settings) -> Component:
    pki = settings.pki_dir
    if settings.etcd_servers:
        files = {"cafile": settings.etcd_cafile, "certfile": settings.etcd_certfile, "keyfile": settings.etcd_keyfile}
        etcd: tuple[str, ...] = (f"--etcd-servers={settings.etcd_servers}",
                                 *(f"--etcd-{name}={path}" for name, path in files.items() if path))
    else:
        etcd = (f"--etcd-servers=https://127.0.0.1:{settings.etcd_port}", f"--etcd-cafile={pki / 'etcd/ca.crt'}",
                f"--etcd-certfile={pki / 'apiserver-etcd-client.crt'}", f"--etcd-keyfile={pki / 'apiserver-etcd-client.key'}")
    argv = _own(
        "apiserver", settings, *etcd,
        f"--secure-port={settings.secure_port}", f"--advertise-address={settings.address}",
        f"--tls-cert-file={pki / 'apiserver.crt'}", f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true", "--enable-bootstrap-token-auth=true",
        f"--service-cluster-ip-range={settings.service_cidr}",
        f"--service-account-issuer=https://kubernetes.default.svc.{settings.cluster_domain}",
        f"--service-account-key-file={pki / 'sa.pub'}", f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}", f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}", "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}", f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
        f"--workers={settings.workers}", *((f"--runtime-config={settings.runtime_config}",) if settings.runtime_config else ()),
        *_gates(settings), *hardening.flags(settings),
    )
    return Component("apiserver", argv, Probe(url=f"{settings.server}/readyz"), after=("etcd",), grace=20)


def _scheduler(settings: Settings) -> Component:
    argv = _own("scheduler", settings, f"--kubeconfig={settings.kubeconfig('scheduler')}",
                "--bind-address=127.0.0.1", "--leader-elect=true", *_gates(settings))
    return Component("scheduler", argv, Probe(url="https://127.0.0.1:10259/healthz"), after=("apiserver",))


def _controller_manager(settings: Settings) -> Component:
    pki = settings.pki_dir
    argv = _own(
        "controller-manager", settings, f"--kubeconfig={settings.kubeconfig('controller-manager')}", "--bind-address=127.0.0.1",
        "--leader-elect=true", "--profiling=false", "--terminated-pod-gc-threshold=1000", "--controllers=*,bootstrapsigner,tokencleaner",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=true", f"--cluster-cidr={settings.pod_cidr}", f"--service-cluster-ip-range={settings.service_cidr}",
        f"--root-ca-file={pki / 'ca.crt'}", f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}", f"--cluster-signing-key-file={pki / 'ca.key'}",
        f"--load-balancer-pool={settings.load_balancer_pool}",
        *((f"--node-dns-service={dns.NAMESPACE}/{dns.NAME}",) if settings.dns else ()),
        f"--local-path-node={settings.node_name}", f"--local-path-directory={settings.data_dir / 'volumes'}", *_gates(settings),
    )
    return Component("controller-manager", argv, Probe(url="https://127.0.0.1:10257/healthz"), after=("apiserver",))


def _kubelet_certificates(settings: Settings) -> tuple[str, ...]:
    """The control plane's kubelet has its files; that of a joined node asks the cluster, and renews them."""
    pki = settings.pki_dir
    if settings.role == "node":  # addresses only: names are not approved by themselves
        return (f"--cert-dir={pki / 'kubelet'}", "--rotate-certificates", "--rotate-server-certificates", "--serving-names=ip")
    return f"--tls-cert-file={pki / 'kubelet.crt'}", f"--tls-private-key-file={pki / 'kubelet.key'}"


def _kubelet(settings: Settings) -> Component:
    pki = settings.pki_dir
    argv = _own(
        "kubelet", settings, f"--kubeconfig={settings.kubeconfig('kubelet')}", f"--hostname-override={settings.node_name}",
        f"--node-ip={settings.node_ip}", f"--container-runtime-endpoint={settings.cri_endpoint}",
        f"--root-dir={settings.data_dir / 'kubelet'}", f"--pod-manifest-path={settings.data_dir / 'manifests'}",
        f"--pod-logs-dir={settings.pod_logs_dir}", f"--cgroup-root={settings.cgroup_root}",
        f"--cgroup-driver={settings.cgroup_driver}", *_pod_network(settings),
        f"--cluster-dns={settings.dns_ip}", f"--cluster-domain={settings.cluster_domain}",
        f"--client-ca-file={pki / 'ca.crt'}", *_kubelet_certificates(settings),
        *((f"--config={settings.kubelet_config}",) if settings.kubelet_config else ()),
        "--authorization-mode=Webhook", "--anonymous-auth=false", f"--port={settings.kubelet_port}", "--fail-swap-on=false",
    )
    return Component("kubelet", argv, Probe(url="http://127.0.0.1:10248/healthz"), after=("apiserver", "containerd"), grace=15)


def _pod_network(settings: Settings) -> tuple[str, ...]:
    """Nothing of CNI is written where a network add-on brings its own."""
    if settings.network_backend == "none":
        return ()
    return (f"--cni-conf-dir={settings.cni_conf_dir}", f"--cni-data-dir={settings.data_dir / 'cni/networks'}", f"--cni-mtu={settings.mtu}",
            f"--network-ready-file={settings.network_ready_file}")


def _proxy(settings: Settings) -> Component:
    argv = _own("proxy", settings, f"--kubeconfig={settings.kubeconfig('proxy')}", f"--hostname-override={settings.node_name}",
                f"--proxy-mode={settings.proxy_mode}", f"--cluster-cidr={settings.pod_cidr}",
                f"--network-backend={settings.network_backend}", *_policies(settings))
    return Component("proxy", argv, Probe(url="http://127.0.0.1:10256/healthz"), after=("apiserver",))


def _policies(settings: Settings) -> tuple[str, ...]:
    if settings.network_backend == "none":
        return ("--network-policy=false",)
    return ("--network-policy=true", f"--network-ready-file={settings.network_ready_file}")


def _dns(settings: Settings) -> Component:
    argv = _own("dns", settings, f"--kubeconfig={settings.kubeconfig('dns')}", f"--listen={host_port(settings.address, settings.dns_port)}",
                f"--cluster-domain={settings.cluster_domain}", f"--hostname-override={settings.node_name}",
                f"--state-file={settings.data_dir / 'dns.json'}", "--health-bind-address=127.0.0.1:10054")
    return Component("dns", argv, Probe(url="http://127.0.0.1:10054/ready"), after=("apiserver",))


def _metrics_server(settings: Settings) -> Component:
    pki = settings.pki_dir
    argv = _own("metrics-server", settings, f"--kubeconfig={settings.kubeconfig('metrics-server')}",
                f"--secure-port={settings.metrics_port}", f"--bind-address={settings.address}",
                f"--tls-cert-file={pki / 'metrics-server.crt'}", f"--tls-private-key-file={pki / 'metrics-server.key'}",
                "--kubelet-preferred-address-types=InternalIP,Hostname", "--kubelet-use-node-status-port")
    health = f"https://{host_port(settings.address, settings.metrics_port)}/livez"
    return Component("metrics-server", argv, Probe(url=health), after=("apiserver",))


def _ingress(settings: Settings) -> Component:
    argv = _own("ingress", settings, f"--kubeconfig={settings.kubeconfig('ingress')}", "--bind-address=127.0.0.1",
                f"--publish-status-address={settings.node_ip}", f"--work-dir={settings.data_dir / 'ingress'}")
    return Component("ingress", argv, Probe(url="https://127.0.0.1:10254/readyz"), after=("apiserver",), grace=15)
