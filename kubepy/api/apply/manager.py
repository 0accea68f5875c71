"""Who owns which field: keeps `metadata.managedFields` true on updates and merges applied configurations."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from kubepy.api import errors
from kubepy.api.apply.fieldset import FieldSet, difference, intersection, paths, recursive_difference, union, with_named_fields
from kubepy.api.apply.shape import Shape
from kubepy.api.apply.typed import Known, TypedError, compare, compare_new, field_set, merge, remove, without_nulls
from kubepy.api.types import Object

MAX_UPDATE_MANAGERS = 10
"""More Update entries than this are folded into one, oldest first."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_SYSTEM: FieldSet = {
    "f:apiVersion": {}, "f:kind": {},
    "f:metadata": {".": {}, **{f"f:{name}": {} for name in (
        "clusterName", "creationTimestamp", "generation", "managedFields", "name", "namespace", "resourceVersion", "selfLink", "uid")}},
}
"""What nobody owns."""


class Owner(NamedTuple):
    """What tells entries apart: an Apply entry keeps its place when its version changes, an Update entry does not."""

    manager: str
    operation: str
    api_version: str
    subresource: str

    def __str__(self) -> str:
        """As conflicts name it."""
        quoted = '"' + self.manager.replace("\\", "\\\\").replace('"', '\\"') + '"'
        where = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f"{quoted}{where}" + (f" using {self.api_version}" if self.operation == "Update" else "")


@dataclass(slots=True)
class Entry:
    fields: FieldSet
    api_version: str
    time: str | None


Managed = dict[Owner, Entry]


@dataclass(frozen=True, slots=True)
class Version:
    """Another version of the kind: what a writer of it owns is judged by what changes there. `convert` does not change its argument."""

    shape: Shape
    convert: Callable[[Object], Object]
    pair: tuple[Object, Object] | None = None
    """The object before and after a write, where conversion had to be waited for."""


class FieldManager:
    """For one kind in one version, at the resource itself or one of its subresources.

    `versions` are the kind's other versions by apiVersion.
    `reset` are the fields that this endpoint ignores (the main resource's `status`, the status endpoint's `spec`), as a field set."""

    def __init__(self, shape: Shape, api_version: str, *, subresource: str = "", reset: FieldSet | None = None,
                 versions: Mapping[str, Version] | None = None) -> None:
        self._shape = shape
        self._api_version = api_version
        self._subresource = subresource
        self._reset = reset or {}
        self._versions = versions or {}
        self._known: Known = {}

    def update(self, live: Object, new: Object, manager: str, now: str, versions: Mapping[str, Version] | None = None) -> None:
        """Sets `new`'s managedFields for a write that turns `live` into it. For a creation `live` is the kind's zero value.

        `now` is an RFC 3339 time. Entries that cannot be read, here or in `new`, fall back to those of `live`, then to none.
        `versions` are used in place of the manager's own."""
        managed = self._managed_for_update(live, new)
        metadata = new.setdefault("metadata", {})
        metadata.pop("managedFields", None)
        if managed is None:
            return
        if not managed and live.get("metadata", {}).get("uid"):
            return  # tracking was given up for this object; the next apply starts it again
        try:
            self._track(live, new, managed, Owner(manager, "Update", self._api_version, self._subresource), now, versions)
        except TypedError:
            managed = _decode(live)
        _encode(new, _capped(managed))

    def apply(self, live: Object, config: Object, manager: str, *, force: bool, now: str) -> Object:
        """The object that `config` makes of `live`, with its managedFields; `live` itself, if nothing changed but ownership.

        Raises BadRequest for a configuration that may not be applied, Conflict when others own what it changes, and
        ApiError 500 when it does not fit the type."""
        if _metadata(config).get("managedFields") is not None:
            raise errors.BadRequest("metadata.managedFields must be nil")
        if config.get("apiVersion") != self._api_version:
            raise errors.BadRequest("Incorrect version specified in apply patch. Specified patch version: "
                                    f"{config.get('apiVersion', '')}, expected: {self._api_version}")
        managed = _decode(live)
        plain = _without_managed(live)
        owner = Owner(manager, "Apply", "", self._subresource)
        if not managed and plain.get("metadata", {}).get("uid"):
            first = Owner("before-first-apply", "Update", self._api_version, self._subresource)
            try:
                self._track({"metadata": {}}, plain, managed, first, now)
            except TypedError as error:
                raise self._unfit(plain, error) from error
        try:
            merged = self._apply(plain, config, managed, owner, force)
        except errors.Conflict as conflict:
            forced = self._retry_over_client_side_apply(plain, config, _decode(live), owner, conflict)
            if forced is None:
                raise
            merged, managed = forced
        changed = merged is not plain
        if owner in managed and changed:
            managed[owner].time = now
        result = {**merged, "metadata": dict(merged.get("metadata", {}))}
        if changed and manager == "kubectl":
            _refresh_last_applied(result, config)
        _encode(result, _capped(managed))
        return result

    def _unfit(self, live: Object, error: TypedError) -> errors.ApiError:
        """What an object that does not fit its own type answers to an apply."""
        try:
            field_set(live, self._shape)
        except TypedError as found:
            error = found
        metadata = live.get("metadata") or {}
        name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        return errors.ApiError("failed to create manager for existing fields: failed to convert new object "
                               f"({name}; {self._api_version}, Kind={live.get('kind', '')}) to smd typed: {error}", code=500, reason="")

    def _managed_for_update(self, live: Object, new: Object) -> Managed | None:
        """The entries to start from; None when the request resets them."""
        sent = new.get("metadata", {}).get("managedFields")
        if not self._subresource and sent is not None:
            if sent == [] or sent == [{}]:
                return None
            try:
                managed = _decode(new)
            except _Unreadable:
                managed = {}
            if managed:
                return managed
        try:
            return _decode(live)
        except _Unreadable:
            return {}

    def _track(self, live: Object, new: Object, managed: Managed, owner: Owner, now: str,
               versions: Mapping[str, Version] | None = None) -> None:
        if live.get("metadata", {}).get("uid"):
            change = compare(_without_managed(live), new, self._shape)
        else:
            change = compare_new(_without_managed(live), new, self._shape, self._known)
        taken = union(change.added, change.modified)
        # what the endpoint resets anyway is nobody's loss
        taken = recursive_difference(taken, self._reset)
        self._take_from(managed, live, new, taken, recursive_difference(change.removed, self._reset), versions or self._versions)
        gained = difference(taken, _SYSTEM)
        if gained:
            previous = managed.get(owner)
            fields = union(gained, previous.fields) if previous else gained
            managed[owner] = Entry(fields, self._api_version, now)

    def _take_from(self, managed: Managed, live: Object, new: Object, taken: FieldSet, removed: FieldSet,
                   versions: Mapping[str, Version]) -> None:
        """Everyone loses what changed under them, as their version sees it."""
        elsewhere = {entry.api_version for entry in managed.values()} & versions.keys() if versions else ()
        for api_version in elsewhere:
            version = versions[api_version]
            before, after = version.pair or (version.convert(_without_managed(live)), version.convert(new))
            change = compare(before, after, version.shape)
            lost = recursive_difference(union(change.added, change.modified), self._reset)
            theirs = {owner: entry for owner, entry in managed.items() if entry.api_version == api_version}
            _take_away(theirs, lost, recursive_difference(change.removed, self._reset))
            for owner in [owner for owner, entry in managed.items() if entry.api_version == api_version and owner not in theirs]:
                del managed[owner]
        if not elsewhere:
            _take_away(managed, taken, removed)
            return
        ours = {owner: entry for owner, entry in managed.items() if entry.api_version not in elsewhere}
        owners = set(ours)
        _take_away(ours, taken, removed)
        for owner in owners - ours.keys():
            del managed[owner]

    def _apply(self, live: Object, config: Object, managed: Managed, owner: Owner, force: bool) -> Object:
        """The merged object (`live` when equal) with `managed` brought up to date."""
        try:
            mine = field_set(config, self._shape)
        except TypedError as error:
            raise _typed_failure(config, error) from error
        try:
            merged = merge(live, config, self._shape)
            last = managed.get(owner)
            mine = difference(recursive_difference(mine, self._reset), _SYSTEM)
            managed[owner] = Entry(mine, self._api_version, last.time if last else None)
            if last and last.fields:  # where it still applies all that it did, there is nothing to prune
                merged = self._prune(merged, managed, last.fields) if difference(last.fields, mine) else without_nulls(merged)
            change = compare(live, merged, self._shape)
        except TypedError as error:
            raise errors.ApiError(f"failed to create manager for existing fields: {error}", code=500, reason="") from error
        # what the endpoint resets anyway is nobody's loss
        taken = difference(recursive_difference(union(change.added, change.modified), self._reset), _SYSTEM)
        removed = recursive_difference(change.removed, self._reset)
        conflicts = {other: shared for other, entry in managed.items()
                     if other != owner and (shared := intersection(entry.fields, taken))}
        if conflicts and not force:
            raise _conflict(conflicts)
        kept = managed[owner]
        del managed[owner]
        _take_away(managed, taken, removed)
        kept.fields = difference(kept.fields, removed)
        if kept.fields:
            managed[owner] = kept
        return live if merged == live else merged

    def _prune(self, merged: Object, managed: Managed, last: FieldSet) -> Object:
        """Removes what the manager applied before and no longer does, unless another manager owns it."""
        shape = self._shape
        formerly = with_named_fields(last, shape)
        pruned = without_nulls(remove(merged, formerly, shape) or {})
        everything = with_named_fields(field_set(merged, shape), shape)
        owned: FieldSet = {}
        for entry in managed.values():
            owned = union(owned, entry.fields)
        gone = difference(everything, with_named_fields(field_set(pruned, shape), shape))
        pruned = without_nulls(remove(merged, difference(gone, with_named_fields(owned, shape)), shape) or {})
        # Containers that the removal above took along, though this manager never owned them, come back.
        gone = difference(everything, with_named_fields(field_set(pruned, shape), shape))
        result: Object = without_nulls(remove(merged, intersection(gone, last), shape) or {})
        return result

    def _retry_over_client_side_apply(self, live: Object, config: Object, managed: Managed, owner: Owner,
                                      conflict: errors.Conflict) -> tuple[Object, Managed] | None:
        """Forces when every conflict is with fields that `kubectl apply` itself recorded as last applied (KEP-2155's migration)."""
        text = live.get("metadata", {}).get("annotations", {}).get(LAST_APPLIED)
        if owner.manager != "kubectl" or not text:
            return None
        try:
            applied = field_set(orjson.loads(text), self._shape)
        except (orjson.JSONDecodeError, TypedError):
            return None
        allowed = set(paths(applied))
        if any(cause["field"] not in allowed for cause in (conflict.details or {}).get("causes", [])):
            return None
        return self._apply(live, config, managed, owner, True), managed


class _Unreadable(ValueError):
    """managedFields that a client broke."""


def _decode(obj: Object) -> Managed:
    managed: Managed = {}
    for entry in obj.get("metadata", {}).get("managedFields") or []:
        fields = entry.get("fieldsV1")
        operation = entry.get("operation")
        if operation not in ("Apply", "Update") or (fields is not None and not isinstance(fields, dict)):
            raise _Unreadable("a managedFields entry has no valid operation or fields")
        version = entry.get("apiVersion", "")
        owner = Owner(entry.get("manager", ""), operation, version if operation == "Update" else "", entry.get("subresource", ""))
        managed[owner] = Entry(fields or {}, version, entry.get("time"))
    return managed


def _encode(obj: Object, managed: Managed) -> None:
    """Entries in upstream's order: Apply before Update, then by time and name."""
    if not managed:
        obj["metadata"].pop("managedFields", None)
        return
    ordered = sorted(managed.items(), key=lambda item: (
        item[0].operation, item[1].time or "", item[0].manager, item[1].api_version, item[0].subresource))
    entries = []
    for owner, entry in ordered:
        wire: dict[str, Any] = {"manager": owner.manager, "operation": owner.operation, "apiVersion": entry.api_version}
        if not owner.manager:
            del wire["manager"]
        if entry.time:
            wire["time"] = entry.time
        wire |= {"fieldsType": "FieldsV1", "fieldsV1": entry.fields}
        if owner.subresource:
            wire["subresource"] = owner.subresource
        entries.append(wire)
    obj["metadata"]["managedFields"] = entries


def _without_managed(obj: Object) -> Object:
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _take_away(managed: Managed, taken: FieldSet, removed: FieldSet) -> None:
    """Others lose what was changed under them and what is no longer there; who owns nothing more goes."""
    lost = union(taken, removed)
    if not lost:
        return
    for owner, entry in list(managed.items()):
        entry.fields = difference(entry.fields, lost)
        if not entry.fields:
            del managed[owner]


def _capped(managed: Managed) -> Managed:
    """Folds the oldest Update entries of each version into `ancient-changes` until at most the maximum is left."""
    updates = sorted((owner for owner in managed if owner.operation == "Update"),
                     key=lambda owner: (managed[owner].time or "", owner.manager, owner.api_version))
    surplus = len(updates) - MAX_UPDATE_MANAGERS
    for owner in updates if surplus > 0 else ():
        if surplus <= 0:
            break
        bucket = Owner("ancient-changes", "Update", owner.api_version, "")
        if owner == bucket:
            continue
        entry = managed.pop(owner)
        former = managed.get(bucket)
        if former is None:
            managed[bucket] = entry
        else:
            former.fields, former.time = union(former.fields, entry.fields), entry.time
            surplus -= 1
    return managed


def _conflict(conflicts: dict[Owner, FieldSet]) -> errors.Conflict:
    """Upstream's NewApplyConflict: one cause for each field and owner, and a message grouped by owner."""
    causes, groups = [], []
    for owner in sorted(conflicts, key=str):
        fields = list(paths(conflicts[owner]))
        causes += [{"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": field} for field in fields]
        groups.append((owner, fields))
    count = len(causes)
    if count == 1:
        text = f"conflict with {groups[0][0]}: {causes[0]['field']}"
    else:
        text = "\n".join(f"conflicts with {owner}:\n" + "\n".join(f"- {field}" for field in fields) for owner, fields in groups)
    return errors.Conflict(f"Apply failed with {count} conflict{'' if count == 1 else 's'}: {text}", {"causes": causes})


def _metadata(config: Object) -> Object:
    """The metadata of what a client sent, which may be anything."""
    found = config.get("metadata")
    return found if isinstance(found, dict) else {}


def _typed_failure(config: Object, error: TypedError) -> errors.ApiError:
    metadata = _metadata(config)
    group, _, version = config.get("apiVersion", "").rpartition("/")
    kind = f"{group}/{version}, Kind={config.get('kind', '')}"
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    return errors.ApiError(f"failed to create typed patch object ({name}; {kind}): {error}", code=500, reason="")


def _refresh_last_applied(result: Object, config: Object) -> None:
    """Keeps kubectl's client-side record in step, where an object still carries one."""
    annotations = result["metadata"].get("annotations") or {}
    if LAST_APPLIED not in annotations or LAST_APPLIED in (_metadata(config).get("annotations") or {}):
        return
    text = orjson.dumps(config, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    result["metadata"]["annotations"] = {**annotations, LAST_APPLIED: text}
