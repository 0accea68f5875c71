"""Scheduling arithmetic that several components must agree on: what a pod requests, which taints it tolerates, which nodes it selects.

Follows upstream's `component-helpers` (resource helpers, scheduling/corev1, nodeaffinity). Amounts are integers: milli-CPU for
`cpu`, the plain value (bytes, counts) for everything else, rounded up as upstream does. Pure: nothing here keeps state.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from kubepy.api.types import Object

Amounts = dict[str, int]
Labels = Mapping[str, str]

DEFAULT_MILLI_CPU = 100
"""What a container without a CPU request counts for when nodes are scored (not when they are filtered)."""
DEFAULT_MEMORY = 200 * 1024 * 1024

_SUFFIXES: dict[str, Decimal] = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3), "M": Decimal(10**6),
    "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}


# --- amounts ---

@lru_cache(maxsize=16384)
def amount(resource: str, quantity: str | int | float) -> int:
    """A quantity as the scheduler counts it: milli-units of `cpu`, whole units of anything else; raises ValueError."""
    value = _decimal(str(quantity).strip())
    if resource == "cpu":
        value *= 1000
    return int(value.to_integral_value(ROUND_CEILING))


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    return {name: amount(name, quantity) for name, quantity in quantities.items()} if quantities else {}


def _decimal(text: str) -> Decimal:
    end = len(text)
    while end and text[end - 1].isalpha():
        end -= 1
    number, suffix = text[:end], text[end:]
    if suffix in ("e", "E") or suffix not in _SUFFIXES:
        number, suffix = text, ""
    try:
        return Decimal(number) * _SUFFIXES[suffix]
    except InvalidOperation:
        if text[-1:] == "E":
            return Decimal(text[:-1]) * _SUFFIXES["E"]
        raise ValueError(f"not a quantity: {text!r}") from None


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: Amounts, other: Mapping[str, int]) -> None:
    for name, value in other.items():
        if value > total.get(name, 0):
            total[name] = value


def is_sidecar(container: Object) -> bool:
    """A restartable init container."""
    return container.get("restartPolicy") == "Always"


def pod_level_resource(name: str) -> bool:
    """Whether pod-level `spec.resources` may set this resource."""
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def pod_requests(pod: Object, *, from_status: bool = False, overhead: bool = True, nonzero: bool = False,
                 pod_level: bool = True) -> Amounts:
    """What a pod requests of a node: app containers and sidecars together, or the largest init step if that is more.

    `from_status` also counts what an in-place resize has allocated (the larger of wanted and allocated, upstream's
    UseStatusResources). `nonzero` gives containers without a request the scheduler's default for `cpu` and `memory`.
    Pod-level requests replace the containers' sum; overhead comes on top."""
    return _pod_total(pod, "requests", from_status=from_status, overhead=overhead, nonzero=nonzero, pod_level=pod_level)


def pod_limits(pod: Object, *, overhead: bool = True, pod_level: bool = True) -> Amounts:
    """A pod's limits by the same arithmetic; overhead is added only to resources that have a limit."""
    return _pod_total(pod, "limits", from_status=False, overhead=overhead, nonzero=False, pod_level=pod_level)


def _pod_total(pod: Object, side: str, *, from_status: bool, overhead: bool, nonzero: bool, pod_level: bool) -> Amounts:
    spec = pod.get("spec") or {}
    top: Mapping[str, Any] = ((spec.get("resources") or {}).get(side) or {}) if pod_level else {}
    statuses = _statuses(pod) if from_status and side == "requests" else {}
    infeasible = bool(statuses) and _resize_infeasible(pod)
    fill = nonzero and not top
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _container_amounts(container, side, statuses, infeasible, fill))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        step = _container_amounts(container, side, statuses, infeasible, fill)
        if is_sidecar(container):
            _add(total, step)
            _add(sidecars, step)
            step = dict(sidecars)
        else:
            step = dict(step)
            _add(step, sidecars)
        _raise_to(peak, step)
    _raise_to(total, peak)
    for name, quantity in top.items():
        if pod_level_resource(name):
            total[name] = amount(name, quantity)
    if top and from_status and side == "requests":
        _raise_to_allocated(total, pod, top)
    if overhead:
        for name, quantity in (spec.get("overhead") or {}).items():
            if side == "requests" or total.get(name):
                total[name] = total.get(name, 0) + amount(name, quantity)
    return total


def _raise_to_allocated(total: Amounts, pod: Object, top: Mapping[str, Any]) -> None:
    """Pod-level requests while they are being resized: what is wanted, allocated or applied, whichever is most; of a resize that cannot
    be, what is applied."""
    status = pod.get("status") or {}
    actual = amounts((status.get("resources") or {}).get("requests"))
    if actual and _resize_infeasible(pod):
        total.update({name: value for name, value in actual.items() if name in top})
        return
    for found in (actual, amounts(status.get("allocatedResources"))):
        _raise_to(total, {name: value for name, value in found.items() if name in top})


def _container_amounts(container: Object, side: str, statuses: Mapping[str, Object], infeasible: bool, fill: bool) -> Amounts:
    found = amounts((container.get("resources") or {}).get(side))
    if statuses and (status := statuses.get(container.get("name", ""))):
        actual = amounts((status.get("resources") or {}).get("requests"))
        if infeasible and actual:
            found = actual
        else:
            found = dict(found)
            _raise_to(found, actual)
            _raise_to(found, amounts(status.get("allocatedResources")))
    if fill and ("cpu" not in found or "memory" not in found):
        found = {"cpu": DEFAULT_MILLI_CPU, "memory": DEFAULT_MEMORY, **found}
    return found


def _statuses(pod: Object) -> dict[str, Object]:
    status = pod.get("status") or {}
    both = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return {entry["name"]: entry for entry in both if "name" in entry}


def _resize_infeasible(pod: Object) -> bool:
    return any(condition.get("type") == "PodResizePending" and condition.get("reason") == "Infeasible"
               for condition in (pod.get("status") or {}).get("conditions") or ())


def pod_priority(pod: Object) -> int:
    return int((pod.get("spec") or {}).get("priority") or 0)


def is_terminated(pod: Object) -> bool:
    """A pod that will never run again."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


# --- taints ---

def tolerates(toleration: Object, taint: Object) -> bool:
    """Upstream's `ToleratesTaint`."""
    effect = toleration.get("effect")
    if effect and effect != taint.get("effect"):
        return False
    key = toleration.get("key")
    if key and key != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    wanted, value = toleration.get("value") or "", taint.get("value") or ""
    if operator == "Equal":
        return bool(wanted == value)
    left, right = _integer(value), _integer(wanted)
    if left is None or right is None:
        return False
    return left > right if operator == "Gt" else left < right if operator == "Lt" else False


def untolerated_taint(taints: Iterable[Object], tolerations: Sequence[Object], effects: Sequence[str] = ("NoSchedule", "NoExecute"),
                      ) -> Object | None:
    """The first taint with one of `effects` that no toleration covers."""
    for taint in taints:
        if taint.get("effect") in effects and not any(tolerates(toleration, taint) for toleration in tolerations):
            return taint
    return None


def device_rule_matches(rule: Object, driver: str, pool: str, device: str) -> bool:
    """Whether a DeviceTaintRule is about a device: all that its selector names must be so; without a selector it is about none."""
    selector = (rule.get("spec") or {}).get("deviceSelector")
    return selector is not None and all(selector.get(key) in (None, value)
                                        for key, value in (("driver", driver), ("pool", pool), ("device", device)))


# --- node selection ---

def matches_requirement(requirement: Object, labels: Labels) -> bool:
    """One node selector requirement (In, NotIn, Exists, DoesNotExist, Gt, Lt); an unknown operator matches nothing."""
    value = labels.get(requirement.get("key", ""))
    return value_matches(requirement, value)


def value_matches(requirement: Object, value: str | None) -> bool:
    """The same for one label's value (None: absent), so that it can be evaluated once for all nodes with that value."""
    operator = requirement.get("operator")
    values: Sequence[str] = requirement.get("values") or ()
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator in ("Gt", "Lt") and value is not None and len(values) == 1:
        left, right = _integer(value), _integer(values[0])
        if left is None or right is None:
            return False
        return left > right if operator == "Gt" else left < right
    return False


def matches_term(term: Object, labels: Labels, name: str) -> bool:
    """One node selector term: all of its expressions and fields; a term with neither matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return (all(matches_requirement(requirement, labels) for requirement in expressions)
            and all(requirement.get("key") == "metadata.name" and value_matches(requirement, name) for requirement in fields))


def matches_node_selector(selector: Object, labels: Labels, name: str) -> bool:
    """A `v1.NodeSelector` (as in required node affinity or a volume's nodeAffinity): any of its terms."""
    return any(matches_term(term, labels, name) for term in selector.get("nodeSelectorTerms") or ())


def required_node_affinity(pod: Object) -> Object | None:
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    found: Object | None = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return found


def selects_node(pod: Object, node: Object) -> bool:
    """Whether the pod's nodeSelector and required node affinity both accept the node."""
    metadata = node["metadata"]
    labels = metadata.get("labels") or {}
    wanted = (pod.get("spec") or {}).get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    required = required_node_affinity(pod)
    return required is None or matches_node_selector(required, labels, metadata["name"])


# --- label selectors ---

def compile_selector(selector: Object | None) -> Callable[[Labels], bool]:
    """A `metav1.LabelSelector` as a predicate: absent matches nothing, empty matches everything."""
    if selector is None:
        return _nothing
    exact = tuple((selector.get("matchLabels") or {}).items())
    expressions = tuple(selector.get("matchExpressions") or ())
    if not expressions:
        if len(exact) == 1:
            key, wanted = exact[0]
            return lambda labels: labels.get(key) == wanted
        return lambda labels: all(labels.get(key) == value for key, value in exact)
    return lambda labels: (all(labels.get(key) == value for key, value in exact)
                           and all(matches_requirement(requirement, labels) for requirement in expressions))


def _nothing(labels: Labels) -> bool:
    return False


def _integer(text: Any) -> int | None:
    try:
        return int(str(text))
    except ValueError:
        return None


# --- the kubelet's and the DaemonSet controller's question ---

def admission_problems(pod: Object, node: Object, others: Iterable[Object]) -> list[str]:
    """Why a node cannot take a pod that is already bound to it, in the kubelet's words; `others` are the pods it holds.

    Upstream's general predicates: resources, node name, node affinity, host ports."""
    problems: list[str] = []
    allocatable = amounts((node.get("status") or {}).get("allocatable"))
    used: Amounts = {}
    count = 0
    ports: set[tuple[str, str, int]] = set()
    for other in others:
        count += 1
        _add(used, pod_requests(other, from_status=True))
        ports.update(host_ports(other))
    if count + 1 > allocatable.get("pods", 110):
        problems.append("Too many pods")
    for name, wanted in pod_requests(pod).items():
        if wanted and wanted > allocatable.get(name, 0) - used.get(name, 0):
            problems.append(f"Insufficient {name}")
    if not selects_node(pod, node):
        problems.append("node(s) didn't match Pod's node affinity/selector")
    if any(ports_conflict(port, taken) for port in host_ports(pod) for taken in ports):
        problems.append("node(s) didn't have free ports for the requested pod ports")
    return problems


def host_ports(pod: Object) -> list[tuple[str, str, int]]:
    """(host IP, protocol, port) of each host port, sidecars' included."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(c for c in spec.get("initContainers") or () if is_sidecar(c))]
    return [(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(port["hostPort"]))
            for container in containers for port in container.get("ports") or () if port.get("hostPort")]


def ports_conflict(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    """The same protocol and port, on the same address or with either on all addresses."""
    if one[1:] != other[1:]:
        return False
    return one[0] == other[0] or one[0] in ("0.0.0.0", "::") or other[0] in ("0.0.0.0", "::")
