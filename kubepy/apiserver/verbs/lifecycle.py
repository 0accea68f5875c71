"""What the API server itself does to an object's metadata when it is created, updated and deleted. Pure: no clock, no I/O.

Source: `k8s.io/apiserver/pkg/registry/rest` (BeforeCreate, BeforeUpdate, BeforeDelete) and the generic store's deletion.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kubepy.api import name as names
from kubepy.api.errors import ApiError, BadRequest, Conflict, Invalid
from kubepy.api.field import Errors, Path, invalid
from kubepy.api.types import Object
from kubepy.api.validation.meta import validate_kube_finalizers, validate_meta, validate_meta_update
from kubepy.apiserver.registry.kind import Kind, Strategy, keep_metadata
from kubepy.apiserver.request import Context
from kubepy.apiserver.verbs.partial import KEEP
from kubepy.apiserver.zero import zero
from kubepy.base.clock import format_time, parse_time
from kubepy.base.uid import random_uid

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
_VALIDATORS = {"subdomain": names.subdomain, "label": names.label, "path": names.path_segment, "own": lambda text: []}


def name_validator(strategy: Strategy) -> names.Validator:
    return _VALIDATORS.get(strategy.name_kind) or getattr(names, strategy.name_kind)


def check_namespace(kind: Kind, obj: Object, namespace: str) -> None:
    """EnsureObjectNamespaceMatchesRequestNamespace; sets the namespace where the object has none. Raises BadRequest."""
    metadata = obj["metadata"]
    own = metadata.get("namespace") or ""
    if own == namespace:
        return
    if not own and kind.resource.namespaced:
        metadata["namespace"] = namespace
    elif not kind.resource.namespaced and not namespace:
        metadata.pop("namespace", None)  # cluster-scoped objects lose a stray namespace
    else:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")


def fill_system_fields(obj: Object, now: float) -> None:
    """Identity and birth of a new object; what a client sent for them is dropped."""
    metadata = obj["metadata"]
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
        metadata.pop(field, None)
    metadata["uid"] = random_uid()
    metadata["creationTimestamp"] = format_time(now)


def drop_repeated_owners(context: Context, obj: Object) -> None:
    """Owner references that say the same twice are reduced to one, with a warning."""
    references = obj["metadata"].get("ownerReferences")
    if not references or len(references) < 2:
        return
    kept: list[Object] = []
    repeated = []
    for reference in references:
        if reference in kept:
            repeated.append(reference.get("uid") or "")
        else:
            kept.append(reference)
    if repeated:
        obj["metadata"]["ownerReferences"] = kept
        observed = ", ".join(dict.fromkeys(repeated))
        context.warn(".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject "
                     f"such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {observed}")


def before_create(context: Context, kind: Kind, obj: Object, now: float) -> None:
    """Everything between admission and validation; changes `obj`."""
    strategy = kind.strategy
    fill_system_fields(obj, now)
    if strategy.has_status and not strategy.keeps_status_on_create:
        obj.pop("status", None)
        if (empty := zero(kind).get("status")) is not None:
            obj["status"] = empty
    if strategy.tracks_generation:
        obj["metadata"]["generation"] = 1
    strategy.fill(obj)
    strategy.settle(obj)
    metadata = obj["metadata"]
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = names.generate(metadata["generateName"])
    strategy.prepare_create(context, obj)  # may write the name into other places


def validate_create(context: Context, kind: Kind, obj: Object) -> None:
    """Raises Invalid."""
    errors = validate_meta(obj["metadata"], kind.resource.namespaced, name_validator(kind.strategy))
    errors += kind.strategy.validate(context, obj)
    if errors:
        raise Invalid.of((kind.stored_as or kind.resource).group, kind.resource.kind, obj["metadata"].get("name") or "", errors)


def before_update(context: Context, kind: Kind, obj: Object, old: Object, subresource: str = "") -> None:
    """Carries over what an update cannot change, and prepares; changes `obj`."""
    strategy = kind.strategy
    metadata, before = obj["metadata"], old["metadata"]
    _carry(metadata, before, "generation")
    if not metadata.get("uid"):
        metadata["uid"] = before.get("uid")
    if not metadata.get("creationTimestamp"):
        _carry(metadata, before, "creationTimestamp")
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        if before.get(field) is not None:
            metadata[field] = before[field]
    if metadata.get("generateName") is None and before.get("generateName") is not None and subresource:
        metadata["generateName"] = before["generateName"]
    metadata.pop("selfLink", None)
    if subresource == "status":
        keep_all_but_status(obj, old)
        if strategy.status_keeps_metadata:
            keep_metadata(obj, old)
        elif strategy.status_keeps:
            keep_metadata(obj, old, strategy.status_keeps)
        strategy.prepare_status(context, obj, old)
        return
    keep = KEEP.get((kind.resource.group, kind.resource.plural, subresource)) if subresource else None
    own = _part_strategy(kind, subresource)
    if keep is not None or own is not None:
        strategy.fill(obj)
        if keep is not None:
            keep(obj, old)
        if own is not None:
            own.prepare_update(context, obj, old)
        if strategy.tracks_generation and strategy.changes_generation(obj, old):
            obj["metadata"]["generation"] = (before.get("generation") or 0) + 1
        return
    if strategy.has_status:
        if "status" in old:
            obj["status"] = old["status"]
        else:
            obj.pop("status", None)
    strategy.fill(obj)
    strategy.settle(obj)
    strategy.prepare_update(context, obj, old)
    if strategy.tracks_generation and strategy.changes_generation(obj, old):
        metadata["generation"] = (before.get("generation") or 0) + 1


def _part_strategy(kind: Kind, subresource: str) -> Strategy | None:
    """What a subresource that updates a part of its parent brings of its own."""
    if not subresource:
        return None
    return next((sub.strategy for sub in kind.subresources if sub.name == subresource), None)


def keep_all_but_status(obj: Object, old: Object) -> None:
    """A status update changes `status` and, of the metadata, labels, annotations, finalizers and ownership."""
    for key in list(obj):
        if key not in ("metadata", "status", "apiVersion", "kind") and key not in old:
            del obj[key]
    for key, value in old.items():
        if key not in ("metadata", "status", "apiVersion", "kind"):
            obj[key] = value


def validate_update(context: Context, kind: Kind, obj: Object, old: Object, subresource: str = "") -> None:
    """Raises Invalid. Metadata is checked by the generic store and again by the kind, so its errors come twice, as upstream."""
    metadata, before = obj["metadata"], old["metadata"]
    errors: Errors = validate_meta(metadata, kind.resource.namespaced, names.path_segment, kube=False)
    judged = not errors
    errors += validate_meta_update(metadata, before, kube=False, judged=judged)
    strategy = kind.strategy
    if strategy.rechecks_metadata:
        errors += validate_meta_update(metadata, before, judged=judged) if errors else validate_kube_finalizers(metadata)
    own = _part_strategy(kind, subresource)
    if subresource == "status":
        errors += strategy.validate_status(context, obj, old)
    elif own is not None:
        errors += own.validate_update(context, obj, old)
    else:
        if strategy.updates_whole or type(strategy).validate_update is Strategy.validate_update:
            errors += validate_meta(metadata, kind.resource.namespaced, name_validator(strategy), judged=judged)
        errors += strategy.validate_update(context, obj, old)
    if errors:
        raise Invalid.of((kind.stored_as or kind.resource).group, kind.resource.kind, metadata.get("name") or "", errors)


def _carry(metadata: Object, before: Object, field: str) -> None:
    if before.get(field) is None:
        metadata.pop(field, None)
    else:
        metadata[field] = before[field]


def check_version(kind: Kind, obj: Object, old: Object, *, unconditional: bool) -> None:
    """The optimistic lock of an update: raises Conflict, or Invalid where a version is demanded."""
    version = obj["metadata"].get("resourceVersion") or ""
    name = old["metadata"].get("name") or ""
    if version in ("", "0"):
        if not unconditional:
            problem = invalid(Path("metadata.resourceVersion"), 0, "must be specified for an update")
            raise Invalid.of(kind.resource.group, kind.resource.plural, name, [problem])
        obj["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    elif not (version.isascii() and version.isdigit()):
        raise ApiError(f'strconv.ParseUint: parsing "{version}": invalid syntax', reason="")
    elif version != old["metadata"]["resourceVersion"]:
        raise Conflict.of(kind.resource, name, MODIFIED)


def check_preconditions(kind: Kind, obj: Object, options: Object) -> None:
    """DeleteOptions' preconditions, named by kind as BeforeDelete does; raises Conflict."""
    wanted = options.get("preconditions") or {}
    metadata = obj["metadata"]
    uid, version = wanted.get("uid"), wanted.get("resourceVersion")
    if uid is not None and uid != metadata.get("uid"):
        raise _conflict(kind, metadata, f"the UID in the precondition ({uid}) does not match the UID in record ({metadata.get('uid')}). "
                                        "The object might have been deleted and then recreated")
    if version is not None and version != metadata.get("resourceVersion"):
        raise _conflict(kind, metadata, f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
                                        f"({metadata.get('resourceVersion')}). The object might have been modified")


def _conflict(kind: Kind, metadata: Object, why: str) -> Conflict:
    name, resource = metadata.get("name") or "", kind.resource
    details: Object = {"name": name, "kind": resource.kind}
    if resource.group:
        details["group"] = resource.group
    title = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return Conflict(f'Operation cannot be fulfilled on {title} "{name}": {why}', details)


@dataclass(frozen=True, slots=True)
class DeletePlan:
    """`remove`: it goes now; `write`: it stays, marked, as `obj`; `keep`: it is already on its way and nothing changes.

    With `remove` and an `obj` the answer shows that state (a pod deleted with a grace period of zero)."""

    action: Literal["remove", "write", "keep"]
    obj: Object | None = None


def is_graceful(strategy: Strategy) -> bool:
    """Whether the kind has a deletion grace period at all."""
    return type(strategy).grace_period is not Strategy.grace_period


def plan_delete(context: Context, kind: Kind, old: Object, options: Object, now: float) -> DeletePlan:
    """What DELETE does to `old`. The plan's object is a new one; `old` is not changed. Raises Conflict."""
    check_preconditions(kind, old, options)
    if (own := kind.strategy.deletion(old, now)) is not None:
        return DeletePlan("write", own)
    obj = {**old, "metadata": dict(old["metadata"])}
    metadata = obj["metadata"]
    graceful, grace = False, 0
    current = metadata.get("deletionGracePeriodSeconds")
    asked = options.get("gracePeriodSeconds")
    if metadata.get("deletionTimestamp") is not None:
        if current:
            if asked is None or asked >= current:
                return DeletePlan("keep")
            metadata["deletionTimestamp"] = _shift(metadata["deletionTimestamp"], asked - current)
            metadata["deletionGracePeriodSeconds"] = grace = asked
            graceful = True
    elif is_graceful(kind.strategy):
        grace = kind.strategy.grace_period(context, obj, options)
        metadata["deletionTimestamp"] = format_time(now + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
        graceful = True
    finalizers = collection_finalizers(kind.strategy, metadata.get("finalizers") or [], options)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    if _is_namespace(obj):
        return _plan_namespace(obj, old, now)
    if not graceful:
        if not finalizers:
            return DeletePlan("remove")
        _mark(metadata, now)
        return DeletePlan("write", obj)
    if finalizers or grace > 0:
        return DeletePlan("write", obj)
    return DeletePlan("remove", obj)


def _is_namespace(obj: Object) -> bool:
    return bool(obj["kind"] == "Namespace" and obj["apiVersion"] == "v1")


def _plan_namespace(obj: Object, old: Object, now: float) -> DeletePlan:
    """A namespace becomes Terminating and goes when its content and then its finalizers are gone."""
    if old["metadata"].get("deletionTimestamp") is None:
        obj["metadata"]["deletionTimestamp"] = format_time(now)
        obj["status"] = {**(old.get("status") or {}), "phase": "Terminating"}
        return DeletePlan("write", obj)
    if (old.get("spec") or {}).get("finalizers") or old["metadata"].get("finalizers"):
        return DeletePlan("keep")
    return DeletePlan("remove", obj)


def _mark(metadata: Object, now: float) -> None:
    if metadata.get("deletionGracePeriodSeconds") is None and metadata.get("generation"):
        metadata["generation"] += 1
    if metadata.get("deletionTimestamp") is None:
        metadata["deletionTimestamp"] = format_time(now)
    metadata["deletionGracePeriodSeconds"] = 0


def _shift(moment: str, seconds: int) -> str:


    return format_time(parse_time(moment) + seconds)


def collection_finalizers(strategy: Strategy, existing: list[str], options: Object) -> list[str]:
    """The finalizers after a DELETE: those of garbage collection follow the options, the finalizers there, and the kind's default."""
    policy, orphan = options.get("propagationPolicy"), options.get("orphanDependents")
    if policy is not None:
        orphaned, foreground = policy == "Orphan", policy == "Foreground"
    elif orphan is not None:
        orphaned, foreground = bool(orphan), False
    else:
        orphaned = ORPHAN in existing or (FOREGROUND not in existing and strategy.default_propagation == "Orphan")
        foreground = FOREGROUND in existing
    kept = [finalizer for finalizer in existing if finalizer not in (ORPHAN, FOREGROUND)]
    if orphaned:
        kept.append(ORPHAN)
    if foreground:
        kept.append(FOREGROUND)
    return kept


def goes_with_update(obj: Object, old: Object) -> bool:
    """ShouldDeleteDuringUpdate: the last finalizer of an object that has no grace left was removed."""
    before = old["metadata"]
    if _is_namespace(obj) and (obj.get("spec") or {}).get("finalizers"):
        return False
    return (before.get("deletionTimestamp") is not None and not obj["metadata"].get("finalizers")
            and not before.get("deletionGracePeriodSeconds"))
