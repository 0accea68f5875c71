"""How a kind is declared. A built-in resource is one `Kind` value in `registry/<group>/<kind>.py`, listed in `registry/table.py`.

The order on a write is Kubernetes': decode, (patch,) mutating admission, `default`, `prepare_*`, `validate*`, validating admission, store.
Hooks get objects that they may change in place (`obj`) and ones they must not (`old`).
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kubepy.api.field import Errors
from kubepy.api.resource import Resource
from kubepy.api.schema.decode import decode
from kubepy.api.schema.equal import equal_field
from kubepy.api.schema.shape import of_api_version
from kubepy.api.types import Object
from kubepy.apiserver.registry.core.podspec_gated import drop_gated
from kubepy.apiserver.request import Context

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get` (`metav1.TableColumnDefinition`); `cell(obj, now)` gives its JSON value, `now` in epoch seconds."""

    name: str
    type: str
    description: str
    cell: Callable[[Object, float], Any]
    format: str = ""
    priority: int = 0


class Strategy:
    """What a kind does on writes; the defaults suit a kind with nothing special. Stateless: one instance a kind.

    Source: `k8s.io/apiserver/pkg/registry/rest` (RESTCreateStrategy, RESTUpdateStrategy, RESTDeleteStrategy)."""

    allow_create_on_update = False
    """PUT of a name that does not exist creates it."""
    allow_unconditional_update = True
    """PUT without resourceVersion is accepted."""
    has_status = False
    """`status` is reset on create and kept on update; `/status` changes nothing else."""
    resets_spec = False
    """Nobody owns fields of `spec`: the server decides what of it is kept (certificate signing requests)."""
    status_keeps_metadata = False
    """`/status` changes no labels, annotations, finalizers or owners (upstream's ResetObjectMetaForStatus)."""
    status_keeps: tuple[str, ...] = ()
    """The fields of the metadata that `/status` leaves alone, where it is not all of them (the labels of Deployments)."""
    rechecks_metadata = True
    """`validate_update` upstream checks the metadata's change once more, so that its errors come twice."""
    keeps_status_on_create = False
    """A new object may bring its status (nodes)."""
    tracks_generation = False
    """`metadata.generation` starts at 1 and grows with each change of anything but metadata and status."""
    updates_whole = False
    """`validate_update` is joined by the checks of a new object's metadata, as it is for kinds that have no `validate_update`."""
    returns_deleted = False
    """DELETE answers the object instead of a Status."""
    default_propagation = "Background"
    pod_spec: tuple[str, ...] = ()
    """Where a pod spec is, in kinds that have one."""
    null_when_empty: tuple[tuple[str, ...], ...] = ()
    """Lists that are stored as null when they are empty (Go's lists without omitempty); who sends an empty one owns it all the same."""
    name_kind = "subdomain"
    """How names are checked: subdomain, label, path, one of the `api.name` validators, or own (by `validate`)."""

    def default(self, obj: Object) -> None:
        """Brings an object that did not come through the API into Kubernetes' shape and fills defaults, in place."""
        shape = of_api_version(obj["apiVersion"], obj["kind"])
        if shape is not None:
            found, _ = decode(shape, obj, validation="Ignore")
            obj.clear()
            obj.update(found)
        self.fill(obj)

    def fill(self, obj: Object) -> None:
        """The kind's defaults; zero values of plain fields are gone by then."""

    def settle(self, obj: Object) -> None:
        """What does not survive storage goes, once ownership is recorded: fields behind gates that are off, empty lists."""
        if self.pod_spec and (spec := _at(obj, self.pod_spec)):
            drop_gated(spec)
        for *parents, last in self.null_when_empty:
            holder = _at(obj, parents)
            if holder and holder.get(last) == []:
                holder[last] = None

    def prepare_create(self, context: Context, obj: Object) -> None: ...

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None: ...

    def prepare_status(self, context: Context, obj: Object, old: Object) -> None: ...

    def takes_long(self, obj: Object) -> bool:
        """Whether validation may take so long that other requests must not wait for it."""
        return False

    def validate(self, context: Context, obj: Object) -> Errors:
        return []

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self.validate(context, obj)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return []

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return []

    def changes_generation(self, obj: Object, old: Object) -> bool:
        """Whether an update bumps `metadata.generation`; asked only where `tracks_generation`."""
        changed = [key for key in {*obj, *old} if key not in ("metadata", "status") and obj.get(key) != old.get(key)]
        shape = of_api_version(obj["apiVersion"], obj["kind"]) if changed else None
        return any(shape is None or not equal_field(shape, key, obj.get(key), old.get(key)) for key in changed)

    def deletion_refused(self, obj: Object) -> str:
        """Why an object may not be deleted (403), or "": what is the server's own."""
        return ""

    def deletion(self, old: Object, now: float) -> Object | None:
        """What DELETE writes instead of removing the object, or None: a kind that does something of its own before it goes."""
        return None

    def grace_period(self, context: Context, obj: Object, options: Object) -> int:
        """Seconds the object stays after DELETE (`metadata.deletionGracePeriodSeconds`); 0 removes it at once."""
        return 0


def _at(obj: Object, path: Sequence[str]) -> Object | None:
    found: Any = obj
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def keep_metadata(obj: Object, old: Object, keys: tuple[str, ...] = ("labels", "annotations", "finalizers", "ownerReferences")) -> None:
    """For kinds whose `/status` changes no metadata (upstream's ResetObjectMetaForStatus)."""
    metadata, before = obj["metadata"], old["metadata"]
    for key in keys:
        metadata.pop(key, None)
        if before.get(key):
            metadata[key] = before[key]


class Conversion(Protocol):
    """A second served version of a stored kind (autoscaling/v1, events.k8s.io/v1). Both directions may change their argument."""

    def to_stored(self, obj: Object) -> Object: ...

    def from_stored(self, obj: Object) -> Object: ...


@dataclass(frozen=True, slots=True)
class Subresource:
    """`status` and `scale` are served generically when named; others bring a `handler` (see `verbs/subresource.py`)."""

    name: str
    verbs: tuple[str, ...]
    kind: str = ""
    """The kind of its body where it is not the parent's (Scale, Binding, Eviction, TokenRequest); in `group`/`version`."""
    group: str | None = None
    version: str = ""
    handler: Callable[..., Awaitable[Any]] | None = None
    strategy: Strategy | None = None
    """For a subresource whose body is the parent and that updates a part of it: `prepare_update` and `validate_update` of this strategy
    take the place of the kind's (pods/ephemeralcontainers, pods/resize, namespaces/finalize, certificatesigningrequests/approval)."""


STATUS = Subresource("status", ("get", "patch", "update"))
SCALE = Subresource("scale", ("get", "patch", "update"), "Scale", "autoscaling", "v1")


@dataclass(frozen=True, slots=True)
class Kind:
    resource: Resource
    singular: str
    strategy: Strategy
    columns: tuple[Column, ...] = ()
    """Empty: Name and Age (upstream's default table)."""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    selectable: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)
    """Field selectors beyond `metadata.name` and `metadata.namespace`."""
    stored_fields: Mapping[str, str] = field(default_factory=dict)
    """For a kind that is stored as another: what its selectable fields are called there, where they differ."""
    unknown_field: str = '"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    """What a selector of another field is answered (400)."""
    subresources: tuple[Subresource, ...] = ()
    stored_as: Resource | None = None
    """The resource it is stored as, when that is another one (with `conversion`)."""
    conversion: Conversion | None = None
    handler: Callable[..., Awaitable[Any]] | None = None
    """For virtual kinds (reviews): answers `create` without storage."""
    derived_annotations: tuple[str, ...] = ()
    """Annotations that stand for what the version has no field for: whole objects have them, bare metadata and rows do not."""
    raw_member: str = ""
    """A member that counts byte by byte, as it was sent (`api.codec.RawObject`)."""
    ttl: int | None = None
    """Seconds until objects expire (events)."""
