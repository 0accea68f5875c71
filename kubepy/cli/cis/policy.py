"""Section 5 of the benchmark: roles, service accounts, pods and networks, as they are in the API."""
from __future__ import annotations

from collections.abc import Iterable

from kubepy.api.types import Object
from kubepy.cli.cis.control import Check, Control
from kubepy.cli.cis.facts import Facts

SYSTEM = frozenset(("kube-system", "kube-public", "kube-node-lease"))
_MANUAL = "manual: an operator's judgement about what runs here"


def _own(objects: Iterable[Object]) -> list[Object]:
    """Without what Kubernetes and kubepy themselves bring along."""
    return [obj for obj in objects if (obj["metadata"].get("labels") or {}).get("kubernetes.io/bootstrapping") != "rbac-defaults"
            and not obj["metadata"]["name"].startswith(("system:", "kubepy:"))]


def _admins(facts: Facts) -> str:
    found = [obj["metadata"]["name"] for obj in _own(facts.objects.get("clusterrolebindings", ()))
             if (obj.get("roleRef") or {}).get("name") == "cluster-admin"]
    return f"bindings to cluster-admin: {', '.join(found)}" if found else ""


def granting(what: str, *grants: tuple[str, str]) -> Check:
    """No role of the operator's own gives one of (resource, verb)."""
    def check(facts: Facts) -> str:
        found = sorted({obj["metadata"]["name"] for kind in ("clusterroles", "roles") for obj in _own(facts.objects.get(kind, ()))
                        for rule in obj.get("rules") or () for resource, verb in grants
                        if {resource, "*"} & set(rule.get("resources") or ()) and {verb, "*"} & set(rule.get("verbs") or ())})
        return f"roles that {what}: {', '.join(found)}" if found else ""
    return check


def _wildcards(facts: Facts) -> str:
    found = [obj["metadata"]["name"] for kind in ("clusterroles", "roles") for obj in _own(facts.objects.get(kind, ()))
             for rule in obj.get("rules") or () if "*" in (rule.get("verbs") or ()) or "*" in (rule.get("resources") or ())]
    return f"roles with wildcards: {', '.join(dict.fromkeys(found))}" if found else ""


def _pods(facts: Facts) -> list[Object]:
    return [pod for pod in facts.objects.get("pods", ()) if pod["metadata"].get("namespace") not in SYSTEM]


def pods(what: str, *, field: str = "", container: str = "") -> Check:
    """No pod outside the system namespaces has a field of its spec, or of a container's security context, set."""
    def check(facts: Facts) -> str:
        found = []
        for pod in _pods(facts):
            spec = pod.get("spec") or {}
            inside = [item.get("securityContext") or {} for kind in ("initContainers", "containers") for item in spec.get(kind) or ()]
            if (field and spec.get(field)) or (container and any(item.get(container) for item in inside)):
                found.append(f"{pod['metadata'].get('namespace')}/{pod['metadata']['name']}")
        return f"{what}: {', '.join(found)}" if found else ""
    return check


def _default_accounts(facts: Facts) -> str:
    found = [obj["metadata"]["name"] for kind in ("clusterrolebindings",) for obj in _own(facts.objects.get(kind, ()))
             for subject in obj.get("subjects") or () if subject.get("kind") == "ServiceAccount" and subject.get("name") == "default"]
    return f"default service accounts have rights by: {', '.join(found)}" if found else ""


CONTROLS: tuple[Control, ...] = (
    Control("5.1.1", "cluster-admin is used only where required", _admins),
    Control("5.1.2", "access to secrets is minimised", granting("read secrets", ("secrets", "get"), ("secrets", "list"), ("secrets",
            "watch"))),
    Control("5.1.3", "roles have no wildcards", _wildcards),
    Control("5.1.4", "access to create pods is minimised", granting("create pods", ("pods", "create"))),
    Control("5.1.5", "default service accounts have no rights", _default_accounts),
    Control("5.1.6", "tokens are mounted only where needed", why=_MANUAL),
    Control("5.1.7", "system:masters is avoided", why="admin.kubeconfig is in it, as kubeadm's super-admin.conf: keep it for emergencies"),
    Control("5.1.8", "bind, impersonate and escalate are limited", granting(
        "bind, impersonate or escalate", ("clusterroles", "bind"), ("roles", "bind"), ("clusterroles", "escalate"), ("roles", "escalate"),
        ("users", "impersonate"), ("groups", "impersonate"), ("serviceaccounts", "impersonate"))),
    Control("5.1.9", "creating persistent volumes is limited", granting("create volumes", ("persistentvolumes", "create"))),
    Control("5.1.10", "nodes/proxy is limited", granting("reach nodes/proxy", ("nodes/proxy", "get"), ("nodes/proxy", "create"))),
    Control("5.1.11", "approving signing requests is limited", granting(
        "approve signing requests", ("certificatesigningrequests/approval", "update"))),
    Control("5.1.12", "webhook configurations are protected", granting(
        "change webhooks", ("validatingwebhookconfigurations", "update"), ("mutatingwebhookconfigurations", "update"))),
    Control("5.1.13", "creating tokens is limited", granting("create tokens", ("serviceaccounts/token", "create"))),
    Control("5.2.1", "a policy control mechanism is in place", why="PodSecurity is on by default: label namespaces, or set cluster-wide "
            "defaults in --admission-control-config-file"),
    Control("5.2.2", "no privileged containers", pods("privileged containers in", container="privileged")),
    Control("5.2.3", "no pods in the host's PID namespace", pods("hostPID in", field="hostPID")),
    Control("5.2.4", "no pods in the host's IPC namespace", pods("hostIPC in", field="hostIPC")),
    Control("5.2.5", "no pods in the host's network", pods("hostNetwork in", field="hostNetwork")),
    Control("5.2.6", "no containers with allowPrivilegeEscalation", why=_MANUAL + " (PodSecurity level restricted)"),
    Control("5.3.1", "the CNI supports network policies", why="with the network backends of kubepy the proxy enforces them"),
    Control("5.3.2", "all namespaces have network policies", why=_MANUAL),
    Control("5.4.1", "secrets as files rather than variables", why=_MANUAL),
    Control("5.5.1", "image provenance",
            why="manual: ImagePolicyWebhook is there and takes its webhook from --admission-control-config-file"),
    Control("5.7.1", "namespaces as boundaries", why=_MANUAL),
    Control("5.7.4", "the default namespace is not used", lambda facts: "pods in default: " + ", ".join(
        pod["metadata"]["name"] for pod in facts.objects.get("pods", ()) if pod["metadata"].get("namespace") == "default")
        if any(pod["metadata"].get("namespace") == "default" for pod in facts.objects.get("pods", ())) else ""),
)
