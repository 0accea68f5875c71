"""What clients are warned about in a pod spec that is accepted (`k8s.io/kubernetes/pkg/api/pod/warnings.go`)."""
from __future__ import annotations

from kubepy.api import name
from kubepy.api.field import Path, show
from kubepy.api.quantity import QuantityError, parse_quantity
from kubepy.api.types import Object
from kubepy.apiserver.registry.core.podspec_annotations import APP_ARMOR

_OLD_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_OLD_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_NULL_SELECTOR = "a null labelSelector results in matching no pod"


def pod_warnings(pod: Object) -> list[str]:
    """Warnings for a Pod."""
    return _warnings(pod.get("spec") or {}, pod.get("metadata") or {}, Path()) + _hostname(pod)


def metadata_warnings(pod: Object) -> list[str]:
    """Those of them that come from its metadata."""
    return _annotations((pod.get("metadata") or {}).get("annotations") or {}, Path("metadata.annotations")) + _hostname(pod)


def _hostname(pod: Object) -> list[str]:
    own, spec = (pod.get("metadata") or {}).get("name"), pod.get("spec") or {}
    if own and not spec.get("hostname") and not spec.get("hostNetwork") and (complaints := name.label(own)):
        return ["metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is "
                f"recommended: [{' '.join(complaints)}]"]
    return []


def template_warnings(template: Object, old: Object | None, path: Path) -> list[str]:
    """Warnings for a pod template; an unchanged template is not warned about again."""
    if old is not None and old == template:
        return []
    return _warnings(template.get("spec") or {}, template.get("metadata") or {}, path) + _app_armor(template, path)


def _app_armor(template: Object, path: Path) -> list[str]:
    """Annotations that no field stands beside; a pod's own have become fields, with a warning, before this."""
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    spec = template.get("spec") or {}
    found = []
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(key) or ():
            title = f"{APP_ARMOR}{container.get('name', '')}"
            fielded = any((holder.get("securityContext") or {}).get("appArmorProfile") is not None for holder in (container, spec))
            if title in annotations and not fielded:
                at = path.child("metadata", "annotations").key(title)
                found.append(f'{at}: deprecated since v1.30; use the "appArmorProfile" field instead')
    return found


def _warnings(spec: Object, metadata: Object, path: Path) -> list[str]:
    at = path.child("spec")
    found = [f"{at.child('nodeSelector').key(key)}: {old_label(key)}" for key in sorted(spec.get("nodeSelector") or {}) if old_label(key)]
    found += _node_affinity(((spec.get("affinity") or {}).get("nodeAffinity")) or {}, at.child("affinity", "nodeAffinity"))
    found += _spread(spec.get("topologySpreadConstraints") or [], at.child("topologySpreadConstraints"))
    found += _annotations(metadata.get("annotations") or {}, path.child("metadata", "annotations"))
    for position, volume in enumerate(spec.get("volumes") or ()):
        for source, why in _OLD_VOLUMES.items():
            if volume.get(source) is not None:
                title = "storageOS" if source == "storageos" else source
                found.append(f"{at.child('volumes').index(position).child(title)}: {why}")
    found += _duplicates(spec, at)
    found += _containers(spec, at)
    found += _ports(spec, at)
    found += _pod_affinity(spec.get("affinity") or {}, at.child("affinity"))
    found += [text for volume in spec.get("volumes") or () for text in _overlaps(volume)]
    return found


def old_label(key: str) -> str:
    """Why a node label should no longer be used, or ""."""
    since, instead = _OLD_LABELS.get(key, ("", ""))
    return f'deprecated since {since}; use "{instead}" instead' if since else ""


def node_selector_term_warnings(term: Object, path: Path) -> list[str]:
    found = []
    for position, expression in enumerate(term.get("matchExpressions") or ()):
        at = path.child("matchExpressions").index(position)
        key = expression.get("key", "")
        if old_label(key):
            found.append(f"{at.child('key')}: {key} is {old_label(key)}")
        for place, value in enumerate(expression.get("values") or ()):
            if expression.get("operator") in ("In", "NotIn") and (complaints := name.label_value(value)):
                found.append(f"{at.child('values').index(place)}: {show(value)} is invalid, {'; '.join(complaints)}")
    return found


def _node_affinity(affinity: Object, path: Path) -> list[str]:
    found = []
    for position, term in enumerate((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        found += node_selector_term_warnings(term, path.child(_REQUIRED, "nodeSelectorTerms").index(position))
    for position, term in enumerate(affinity.get(_PREFERRED) or ()):
        found += node_selector_term_warnings(term.get("preference") or {}, path.child(_PREFERRED).index(position).child("preference"))
    return found


def _spread(constraints: list[Object], path: Path) -> list[str]:
    found = []
    for position, constraint in enumerate(constraints):
        at = path.index(position)
        key = constraint.get("topologyKey", "")
        if old_label(key):
            found.append(f"{at.child('topologyKey')}: {key} is {old_label(key)}")
        if constraint.get("labelSelector") is None:
            found.append(f"{at.child('labelSelector')}: {_NULL_SELECTOR}")
    return found


def _annotations(annotations: Object, path: Path) -> list[str]:
    found = []
    for key in sorted(annotations):
        at = path.key(key)
        if key == "scheduler.alpha.kubernetes.io/critical-pod":
            found.append(f'{at}: non-functional in v1.16+; use the "priorityClassName" field instead')
        elif key == "seccomp.security.alpha.kubernetes.io/pod" or key.startswith("container.seccomp.security.alpha.kubernetes.io/"):
            found.append(f'{at}: non-functional in v1.27+; use the "seccompProfile" field instead')
        elif key == "security.alpha.kubernetes.io/sysctls" or key == "security.alpha.kubernetes.io/unsafe-sysctls":
            found.append(f'{at}: non-functional in v1.11+; use the "sysctls" field instead')
    return found


def _duplicates(spec: Object, path: Path) -> list[str]:
    found = []
    seen: set[str] = set()
    for position, alias in enumerate(spec.get("hostAliases") or ()):
        if alias.get("ip", "") in seen:
            found.append(f"{path.child('hostAliases').index(position).child('ip')}: duplicate ip {show(alias.get('ip', ''))}")
        seen.add(alias.get("ip", ""))
    seen = set()
    for position, secret in enumerate(spec.get("imagePullSecrets") or ()):
        title = secret.get("name", "")
        at = path.child("imagePullSecrets").index(position).child("name")
        if not title:
            found.append(f"{at}: invalid empty name {show('')}")
        elif title in seen:
            found.append(f"{at}: duplicate name {show(title)}")
        seen.add(title)
    return found


def _containers(spec: Object, path: Path) -> list[str]:
    found = []
    for key in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(key) or ()):
            at = path.child(key).index(position)
            resources = container.get("resources") or {}
            for resource in ("memory", "ephemeral-storage"):
                for side in ("limits", "requests"):
                    amount = (resources.get(side) or {}).get(resource)
                    if amount is not None and _fractional(amount):
                        found.append(f"{at.child('resources', side).key(resource)}: fractional byte value {show(str(amount))} is invalid, "
                                     "must be an integer")
            found += _env(container.get("env") or [], at.child("env"))
    return found


def _fractional(amount: object) -> bool:
    try:
        return parse_quantity(str(amount)).milli_value() % 1000 != 0
    except QuantityError:
        return False


def _env(variables: list[Object], path: Path) -> list[str]:
    found = []
    values: dict[str, str] = {}
    for position, variable in enumerate(variables):
        title, value = variable.get("name", ""), variable.get("value", "")
        if title in values and f"$({title})" not in value:
            found.append(f"{path.index(position)}: hides previous definition of {show(title)}, which may be dropped when using apply")
        values[title] = value
    return found


def _ports(spec: Object, path: Path) -> list[str]:
    found = []
    everywhere: dict[str, Path] = {}
    for place, container in enumerate(spec.get("containers") or ()):
        own: list[tuple[Object, Path]] = []
        for position, port in enumerate(container.get("ports") or ()):
            at = path.child("containers").index(place).child("ports").index(position)
            found += _port(port, at, own)
            own.append((port, at))
            title = port.get("name")
            if title and title in everywhere and str(everywhere[title]).rpartition(".ports")[0] != str(at).rpartition(".ports")[0]:
                first = everywhere[title]
                found.append(f"{at}: duplicate port name {show(title)} with {first}, services and probes that select ports by name will "
                             f"use {first}")
            elif title:
                everywhere.setdefault(title, at)
    return found


def _port(port: Object, path: Path, others: list[tuple[Object, Path]]) -> list[str]:
    found = []
    if port.get("hostIP") and not port.get("hostPort"):
        shown = (f"Name:{port.get('name', '')} HostPort:0 ContainerPort:{port.get('containerPort', 0)} "
                 f"Protocol:{port.get('protocol', '')} HostIP:{port['hostIP']}")
        found.append(f"{path}: hostIP set without hostPort: {{{shown}}}")
    for other, where in others:
        if (port.get("containerPort"), port.get("protocol")) != (other.get("containerPort"), other.get("protocol")):
            continue
        host, other_host = port.get("hostPort", 0), other.get("hostPort", 0)
        if (host, port.get("hostIP", "")) == (other_host, other.get("hostIP", "")):
            found.append(f"{path}: duplicate port definition with {where}")
        elif host == 0 or other_host == 0:
            found.append(f"{path}: overlapping port definition with {where}")
    return found


def _pod_affinity(affinity: Object, path: Path) -> list[str]:
    found = []
    for key in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(key) or {}
        for position, term in enumerate(terms.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                found.append(f"{path.child(key, _REQUIRED).index(position).child('labelSelector')}: {_NULL_SELECTOR}")
        for position, term in enumerate(terms.get(_PREFERRED) or ()):
            if (term.get("podAffinityTerm") or {}).get("labelSelector") is None:
                found.append(f"{path.child(key, _PREFERRED).index(position).child('podAffinityTerm', 'labelSelector')}: {_NULL_SELECTOR}")
    return found


def _overlaps(volume: Object) -> list[str]:
    """Paths of a projected volume that lie in one another."""
    taken: list[tuple[str, str]] = []
    found = []
    for source in (volume.get("projected") or {}).get("sources") or ():
        for path, owner in _paths(source):
            for other, other_owner in taken:
                if path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/"):
                    found.append(f'volume {show(volume.get("name", ""))} (Projected): overlapping paths: {show(path)} ({owner}) with '
                                 f"{show(other)} ({other_owner})")
            taken.append((path, owner))
    return found


def _paths(source: Object) -> list[tuple[str, str]]:
    listed: list[tuple[str, str]] = []
    for key, title in (("configMap", "ConfigMap"), ("secret", "Secret")):
        part = source.get(key) or {}
        listed += [(item.get("path", ""), f"{title} {show(part.get('name', ''))}") for item in part.get("items") or ()]
    listed += [(item.get("path", ""), "DownwardAPI") for item in (source.get("downwardAPI") or {}).get("items") or ()]
    if token := source.get("serviceAccountToken"):
        listed.append((token.get("path", ""), "ServiceAccountToken"))
    return [(path.rstrip("/"), owner) for path, owner in listed if path]


