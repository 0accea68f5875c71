"""Pods as the scheduler sees them: parsed once, and what pods of one template have in common is shared.

A `Template` is everything in a pod's spec that scheduling looks at. Pods made from one Deployment share one Template object, so
that verdicts can be kept by template; a `Pod` adds what differs between them.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kubepy.api import scheduling
from kubepy.api.scheduling import Amounts, Labels
from kubepy.api.types import Object
from kubepy.base.clock import parse_time

_SORTED = orjson.OPT_SORT_KEYS


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector over the pods of some namespaces. Equal selectors are equal values; the predicates are made once."""

    labels: bytes
    """The canonical JSON of the label selector (`null` selects nothing)."""
    namespaces: frozenset[str]
    namespace_labels: bytes = b"null"
    """The canonical JSON of the namespace selector; `null` selects none beyond `namespaces`."""
    accepts: Callable[[Labels], bool] = field(default=lambda labels: False, compare=False)
    accepts_namespace: Callable[[Labels], bool] = field(default=lambda labels: False, compare=False)

    @classmethod
    def of(cls, labels: Object | None, namespaces: Sequence[str], namespace_labels: Object | None = None) -> Selector:
        return cls(orjson.dumps(labels, option=_SORTED), frozenset(namespaces), orjson.dumps(namespace_labels, option=_SORTED),
                   scheduling.compile_selector(labels), scheduling.compile_selector(namespace_labels))

    def may_select(self, pod: Pod) -> bool:
        """The same without knowing the namespace's labels: never wrongly False."""
        return (pod.namespace in self.namespaces or self.namespace_labels != b"null") and self.accepts(pod.labels)

    def selects(self, labels: Labels, namespace: str, namespace_labels: Labels) -> bool:
        return (namespace in self.namespaces or self.accepts_namespace(namespace_labels)) and self.accepts(labels)


@dataclass(frozen=True, slots=True)
class Term:
    """One pod (anti-)affinity term."""

    topology_key: str
    selector: Selector


@dataclass(frozen=True, slots=True)
class Spread:
    """One topology spread constraint."""

    topology_key: str
    selector: Selector
    max_skew: int
    hard: bool
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(slots=True, eq=False)
class Template:
    """What scheduling needs of a pod's spec; shared between pods, never changed."""

    requests: Amounts
    nonzero: tuple[int, int]
    """Milli-CPU and bytes with the scheduler's defaults for containers that ask for nothing."""
    ports: tuple[tuple[str, str, int], ...] = ()
    images: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    """That a node must declare."""
    tolerations: tuple[Object, ...] = ()
    node_selector: Object | None = None
    node_required: Object | None = None
    node_preferred: tuple[Object, ...] = ()
    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[tuple[int, Term], ...] = ()
    """Preferred terms with their weights, those of anti-affinity negative."""
    spread: tuple[Spread, ...] = ()
    volumes: tuple[Object, ...] = ()
    """The volumes that a node can conflict with: claims, ephemeral claims and attached disks."""
    resource_claims: tuple[Object, ...] = ()
    verdicts: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """What plugins keep for the template: plugin name -> (snapshot version it holds for, value)."""


@dataclass(slots=True, eq=False)
class Pod:
    """A pod. `raw` is kept only while the pod is pending."""

    key: str
    namespace: str
    name: str
    uid: str
    labels: dict[str, str]
    template: Template
    priority: int = 0
    node: str = ""
    nominated: str = ""
    scheduler: str = "default-scheduler"
    deleting: bool = False
    terminated: bool = False
    created: str = ""
    started: str = ""
    owner: tuple[str, str, str] | None = None
    """The controller: kind, name, UID."""
    preemptor: bool = True
    gates: tuple[str, ...] = ()
    requests: Amounts = field(default_factory=dict)
    """Usually the template's; a pod resized in place has its own."""
    nonzero: tuple[int, int] = (0, 0)
    raw: Object | None = None

    @property
    def pending(self) -> bool:
        return not self.node and not self.terminated

    def start_seconds(self) -> float:
        """When it started to run, for choosing preemption victims; a pod that has not counts as started last."""
        return parse_time(self.started) if self.started else float("inf")


class Parser:
    """Turns API pods into `Pod`s, sharing templates; keeps at most `limit` templates for reuse."""

    def __init__(self, limit: int = 20000) -> None:
        self._templates: OrderedDict[bytes, Template] = OrderedDict()
        self._limit = limit

    def parse(self, obj: Object) -> Pod:
        metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        labels = metadata.get("labels") or {}
        template = self._template(namespace, labels, spec)
        requests, nonzero = template.requests, template.nonzero
        node = spec.get("nodeName") or ""
        if node and _resized(spec, status):
            requests = scheduling.pod_requests(obj, from_status=True)
            nonzero = (max(nonzero[0], requests.get("cpu", 0)), max(nonzero[1], requests.get("memory", 0)))
        owner = next((o for o in metadata.get("ownerReferences") or () if o.get("controller")), None)
        pod = Pod(
            key=f"{namespace}/{name}", namespace=namespace, name=name, uid=metadata.get("uid", ""), labels=labels, template=template,
            priority=int(spec.get("priority") or 0), node=node, nominated=status.get("nominatedNodeName") or "",
            scheduler=spec.get("schedulerName") or "default-scheduler", deleting="deletionTimestamp" in metadata,
            terminated=status.get("phase") in ("Succeeded", "Failed"), created=metadata.get("creationTimestamp") or "",
            started=status.get("startTime") or "",
            owner=(owner["kind"], owner["name"], owner.get("uid", "")) if owner else None,
            preemptor=spec.get("preemptionPolicy") != "Never", requests=requests, nonzero=nonzero,
        )
        if pod.pending:
            pod.raw = obj
            pod.gates = tuple(gate["name"] for gate in spec.get("schedulingGates") or ())
        return pod

    def _template(self, namespace: str, labels: Labels, spec: Object) -> Template:
        affinity, spread = spec.get("affinity"), spec.get("topologySpreadConstraints")
        volumes = tuple(v for v in spec.get("volumes") or () if _matters(v))
        key = orjson.dumps((
            namespace, spec.get("schedulerName"),  # what plugins keep with a template is their profile's
            [_scheduling_part(c) for c in spec.get("containers") or ()],
            [_scheduling_part(c) for c in spec.get("initContainers") or ()],
            spec.get("resources"), spec.get("overhead"), spec.get("nodeSelector"), affinity, spec.get("tolerations"), spread,
            [labels.get(k) for c in spread or () for k in c.get("matchLabelKeys") or ()], volumes, spec.get("resourceClaims"),
            _image_volumes(spec),
        ))
        found = self._templates.get(key)
        if found is None:
            found = self._templates[key] = _parse_template(namespace, labels, spec, volumes)
            if len(self._templates) > self._limit:
                self._templates.popitem(last=False)
        return found


def _scheduling_part(container: Object) -> tuple[Any, ...]:
    return (container.get("resources"), container.get("ports"), container.get("image"), container.get("restartPolicy"),
            container.get("restartPolicyRules"))


def _image_volumes(spec: Object) -> tuple[str, ...]:
    return tuple(str(volume["image"].get("reference") or "") for volume in spec.get("volumes") or () if volume.get("image"))


def required_features(spec: Object) -> tuple[str, ...]:
    """What a node must declare (`status.declaredFeatures`) to run such a pod. Of the features of v1.36 that are declared, one shows in a
    new pod; the others show in changes of running ones."""
    rules = (rule for kind in ("containers", "initContainers") for container in spec.get(kind) or ()
             for rule in container.get("restartPolicyRules") or ())
    return ("RestartAllContainersOnContainerExits",) if any(rule.get("action") == "RestartAllContainers" for rule in rules) else ()


def _matters(volume: Object) -> bool:
    return any(kind in volume for kind in ("persistentVolumeClaim", "ephemeral", "gcePersistentDisk", "awsElasticBlockStore", "rbd",
                                           "iscsi"))


def _resized(spec: Object, status: Object) -> bool:
    """Whether any container's allocated or actual requests differ from the spec's: rare, so it is only looked at, not computed."""
    top = (spec.get("resources") or {}).get("requests")
    if top and ((status.get("resources") or {}).get("requests") or top) != top:
        return True
    wanted = {c.get("name"): (c.get("resources") or {}).get("requests") or {}
              for name in ("containers", "initContainers") for c in spec.get(name) or ()}
    for entry in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        spec_requests = wanted.get(entry.get("name"), {})
        allocated = entry.get("allocatedResources")
        actual = (entry.get("resources") or {}).get("requests")
        if (allocated and allocated != spec_requests) or (actual and actual != spec_requests):
            return True
    return False


def _parse_template(namespace: str, labels: Labels, spec: Object, volumes: tuple[Object, ...]) -> Template:
    pod = {"spec": spec}
    nonzero = scheduling.pod_requests(pod, nonzero=True)
    affinity = spec.get("affinity") or {}
    node_affinity = affinity.get("nodeAffinity") or {}
    together, apart = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    required, preferred = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return Template(
        requests={name: value for name, value in scheduling.pod_requests(pod).items() if value},
        nonzero=(nonzero.get("cpu", 0), nonzero.get("memory", 0)),
        ports=tuple(scheduling.host_ports(pod)),
        images=(*(c.get("image") or "" for c in containers), *_image_volumes(spec)),
        features=required_features(spec),
        tolerations=tuple(spec.get("tolerations") or ()),
        node_selector=spec.get("nodeSelector") or None,
        node_required=node_affinity.get(required),
        node_preferred=tuple(node_affinity.get(preferred) or ()),
        affinity=tuple(_term(t, namespace, labels) for t in together.get(required) or ()),
        anti_affinity=tuple(_term(t, namespace, labels) for t in apart.get(required) or ()),
        preferred=(*((int(p["weight"]), _term(p["podAffinityTerm"], namespace, labels)) for p in together.get(preferred) or ()),
                   *((-int(p["weight"]), _term(p["podAffinityTerm"], namespace, labels)) for p in apart.get(preferred) or ())),
        spread=tuple(parse_spread(c, namespace, labels) for c in spec.get("topologySpreadConstraints") or ()),
        volumes=volumes, resource_claims=tuple(spec.get("resourceClaims") or ()),
    )


def _term(term: Object, namespace: str, labels: Labels) -> Term:
    """matchLabelKeys of affinity terms have been merged into the selector by the API server."""
    namespaces = term.get("namespaces") or ()
    by_labels = term.get("namespaceSelector")
    if not namespaces and by_labels is None:
        namespaces = (namespace,)
    return Term(term.get("topologyKey") or "", Selector.of(term.get("labelSelector"), namespaces, by_labels))


def parse_spread(constraint: Object, namespace: str, labels: Labels) -> Spread:
    selector = constraint.get("labelSelector")
    keys = [key for key in constraint.get("matchLabelKeys") or () if key in labels]
    if keys:
        selector = dict(selector or {})
        selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()),
                                        *({"key": key, "operator": "In", "values": [labels[key]]} for key in keys)]
    return Spread(
        topology_key=constraint.get("topologyKey") or "", selector=Selector.of(selector, (namespace,)),
        max_skew=int(constraint.get("maxSkew") or 1), hard=constraint.get("whenUnsatisfiable") == "DoNotSchedule",
        min_domains=int(constraint.get("minDomains") or 1), honor_affinity=constraint.get("nodeAffinityPolicy") != "Ignore",
        honor_taints=constraint.get("nodeTaintsPolicy") == "Honor",
    )
