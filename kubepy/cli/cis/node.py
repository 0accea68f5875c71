"""Section 4 of the benchmark: the machine as a node, its kubelet and its proxy."""
from __future__ import annotations

from kubepy.cli.cis.checks import answers, every, mode, strong
from kubepy.cli.cis.control import Check, Control
from kubepy.cli.cis.facts import Facts, value


def kubelet(*path: str, among: tuple[object, ...]) -> Check:
    """A field of the kubelet's running configuration has one of these values."""
    def check(facts: Facts) -> str:
        found = value(facts.kubelet, *path)
        return "" if found in among else f"the kubelet's {'.'.join(path)} is {found}"
    return check


def _authority(facts: Facts) -> str:
    found = value(facts.kubelet, "authentication", "x509", "clientCAFile") or facts.flag("kubelet", "client-ca-file")
    return "" if found else "the kubelet has no client CA"


def _serving(facts: Facts) -> str:
    found = (value(facts.kubelet, "tlsCertFile") or facts.flag("kubelet", "tls-cert-file")) and (
        value(facts.kubelet, "tlsPrivateKeyFile") or facts.flag("kubelet", "tls-private-key-file"))
    rotated = value(facts.kubelet, "serverTLSBootstrap") or facts.flag("kubelet", "rotate-server-certificates") == "true"
    return "" if found or rotated else "the kubelet serves with a certificate it made itself"


CONTROLS: tuple[Control, ...] = (
    Control("4.1.1", "kubelet service file permissions",
            why="the kubelet is started by the supervisor, not by a service file (control K.1)"),
    Control("4.1.3", "proxy kubeconfig permissions are 600", mode(0o600, "proxy.kubeconfig")),
    Control("4.1.5", "kubelet kubeconfig permissions are 600", mode(0o600, "kubelet.kubeconfig")),
    Control("4.1.7", "certificate authorities file permissions are 644", mode(0o644, "pki/ca.crt")),
    Control("4.1.9", "kubelet configuration file permissions are 600", mode(0o600, "kubelet/config.yaml", needed=False)),
    Control("4.2.1", "kubelet --anonymous-auth is false", every(kubelet("authentication", "anonymous", "enabled", among=(False,)),
                                                               answers("kubelet pods", 401))),
    Control("4.2.2", "kubelet --authorization-mode is not AlwaysAllow", kubelet("authorization", "mode", among=("Webhook",))),
    Control("4.2.3", "kubelet --client-ca-file is set", _authority),
    Control("4.2.4", "kubelet --read-only-port is 0", every(kubelet("readOnlyPort", among=(0, None)), answers("kubelet read-only", 0))),
    Control("4.2.5", "kubelet --streaming-connection-idle-timeout is not 0",
            lambda facts: "streams never end" if value(facts.kubelet, "streamingConnectionIdleTimeout") in ("0", "0s") else ""),
    Control("4.2.6", "kubelet --make-iptables-util-chains is true", why="the proxy makes and keeps every chain; the kubelet makes none"),
    Control("4.2.7", "kubelet --hostname-override is not set",
            why="the node's name is the machine's unless --node-name says otherwise; the "
            "certificates are made for it"),
    Control("4.2.8", "kubelet --event-qps is appropriate", why="events are aggregated and limited by their sender, as in client-go"),
    Control("4.2.9", "kubelet --tls-cert-file and --tls-private-key-file are set", _serving),
    Control("4.2.10", "kubelet --rotate-certificates is not false",
            why="on the control plane `kubepy up` and `kubepy certs renew` issue the "
            "certificates, joined nodes renew theirs by signing requests; files are followed while the kubelet runs"),
    Control("4.2.12", "the kubelet speaks only strong ciphers", strong("kubelet")),
    Control("4.2.13", "a limit on pod PIDs", why="manual: --pod-max-pids of the kubelet; there is none by default, as in Kubernetes"),
    Control("4.2.14", "--seccomp-default is true", why="manual: --seccomp-default of the kubelet; off by default, as in Kubernetes"),
    Control("4.3.1", "proxy metrics listen on the loopback", answers("proxy metrics from outside", 0)),
)
