"""What may change of a Pod: by update, by its ephemeralcontainers and resize, and of its status (`ValidatePodUpdate` and kin)."""
from __future__ import annotations

from typing import Any

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.schema.equal import equal
from kubepy.api.schema.shape import struct
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core.pod_diff import ephemeral_diff, pod_diff
from kubepy.apiserver.registry.core.podspec_annotations import annotation_changes, pod_annotations
from kubepy.apiserver.registry.core.podspec_containers import padded_image
from kubepy.apiserver.registry.core.podspec_scheduling import tolerations

SPEC = Path("spec")
WHOLE = Path("[]")
"""How upstream names the object itself."""
_MUTABLE = ("`spec.containers[*].image`", "`spec.initContainers[*].image`", "`spec.activeDeadlineSeconds`",
            "`spec.tolerations` (only additions to existing tolerations)",
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def spec_update(obj: Object, old: Object) -> Errors:
    """Everything after the pod itself was validated."""
    new_spec, old_spec = obj.get("spec") or {}, old.get("spec") or {}
    if new_spec == old_spec:
        return []
    errors: Errors = []
    for key in ("containers", "initContainers"):
        found, stop = _images(new_spec.get(key) or [], old_spec.get(key) or [], SPEC.child(key))
        errors += found
        if stop:
            return errors
    deadline = _deadline(new_spec, old_spec)
    errors += deadline
    if deadline and new_spec.get("activeDeadlineSeconds") is not None:
        return errors
    errors += _only_added(new_spec.get("tolerations") or [], old_spec.get("tolerations") or [])
    errors += _gates(new_spec.get("schedulingGates") or [], old_spec.get("schedulingGates") or [])
    expected = _munged(new_spec, old_spec)
    if old_spec.get("schedulingGates"):
        errors += _gated(expected, new_spec, old_spec)
    if expected != old_spec and not same(expected, old_spec) and not equal(struct("io.k8s.api.core.v1.PodSpec"), expected, old_spec):
        errors.append(field.forbidden(SPEC,
                                      f"pod updates may not change fields other than {','.join(_MUTABLE)}\n{pod_diff(old_spec, expected)}"))
    return errors


def annotations_update(obj: Object, old: Object) -> Errors:
    """ValidatePodSpecificAnnotationUpdates: what may not change, and what is there once more."""
    new, before = (((pod.get("metadata") or {}).get("annotations") or {}) for pod in (obj, old))
    if not new and not before:
        return []
    if new == before and obj.get("spec") == old.get("spec"):
        return []
    path = Path("metadata.annotations")
    return annotation_changes(new, before, path) + pod_annotations(new, obj.get("spec") or {}, path)


def same(one: Any, other: Any) -> bool:
    """Semantic equality: empty and absent are the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(same(one.get(key), other.get(key)) for key in {*one, *other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(left, right) for left, right in zip(one, other, strict=True))
    if one in (None, [], {}) and other in (None, [], {}):
        return True
    return bool(one == other)


def _images(new: list[Object], old: list[Object], path: Path) -> tuple[Errors, bool]:
    if len(new) != len(old):
        what = "containers"
        return [field.forbidden(path, f"pod updates may not add or remove {what}")], True
    errors: Errors = []
    for position, container in enumerate(new):
        if not container.get("image"):
            errors.append(field.required(path.index(position).child("image")))
        errors += padded_image(container, path.index(position))
    return errors, False


def _deadline(new_spec: Object, old_spec: Object) -> Errors:
    new, old = new_spec.get("activeDeadlineSeconds"), old_spec.get("activeDeadlineSeconds")
    at = SPEC.child("activeDeadlineSeconds")
    if new is not None:
        if not 0 <= new <= check.MAX_INT32:
            return [field.invalid(at, new, "must be between 0 and 2147483647, inclusive")]
        if old is not None and new > old:
            return [field.invalid(at, new, "must be less than or equal to previous value")]
    elif old is not None:
        return [field.invalid(at, None, "must not update from a positive integer to nil value")]
    return []


def _gates(new: list[Object], old: list[Object]) -> Errors:
    known = {gate.get("name") for gate in old}
    return [field.forbidden(SPEC.child("schedulingGates").index(position).child("name"),
                            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'")
            for position, gate in enumerate(new) if gate.get("name") not in known]


def _only_added(new: list[Object], old: list[Object]) -> Errors:
    """validateOnlyAddedTolerations."""
    at = SPEC.child("tolerations")
    for toleration in old:
        if not any({**candidate, "tolerationSeconds": None} == {**toleration, "tolerationSeconds": None} for candidate in new):
            return [field.forbidden(at, "existing toleration can not be modified except its tolerationSeconds")]
    return tolerations(new, at)


def _munged(new_spec: Object, old_spec: Object) -> Object:
    """The new spec with what may change set back to the old."""
    spec = dict(new_spec)
    for key in ("containers", "initContainers"):
        if new_spec.get(key):
            spec[key] = [{**container, "image": before.get("image")}
                         for container, before in zip(new_spec[key], old_spec[key], strict=True)]
    for key in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        if key in old_spec:
            spec[key] = old_spec[key]
        else:
            spec.pop(key, None)
    if old_spec.get("terminationGracePeriodSeconds", 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        spec["terminationGracePeriodSeconds"] = old_spec["terminationGracePeriodSeconds"]
    return spec


def _gated(expected: Object, new_spec: Object, old_spec: Object) -> Errors:
    """While gated, node selection may be narrowed; what may is set back in `expected`."""
    errors: Errors = []
    new, old = new_spec.get("nodeSelector") or {}, old_spec.get("nodeSelector") or {}
    if new != old:
        if any(new.get(key) != value for key, value in old.items()):
            errors.append(field.invalid(SPEC.child("nodeSelector"), new,
                                        "only additions to spec.nodeSelector are allowed (no mutations or deletions)"))
        expected["nodeSelector"] = old
    new_node = (new_spec.get("affinity") or {}).get("nodeAffinity")
    old_node = (old_spec.get("affinity") or {}).get("nodeAffinity")
    if new_node != old_node:
        errors += _narrowed(new_node or {}, (old_node or {}).get(_REQUIRED))
        affinity = {key: value for key, value in (new_spec.get("affinity") or {}).items() if key != "nodeAffinity"}
        if old_node is not None:
            affinity["nodeAffinity"] = old_node
        if affinity or "affinity" in old_spec:
            expected["affinity"] = affinity
        else:
            expected.pop("affinity", None)
    return errors


def _narrowed(new_node: Object, old: Object | None) -> Errors:
    if old is None:
        return []
    at = SPEC.child("affinity", "nodeAffinity", _REQUIRED, "nodeSelectorTerms")
    new_terms, old_terms = (new_node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [], old.get("nodeSelectorTerms") or []
    if len(new_terms) != len(old_terms):
        return [field.invalid(at, [_go_term(term) for term in new_terms],
                              "no additions/deletions to non-empty NodeSelectorTerms list are allowed")]
    errors: Errors = []
    for position, (new, before) in enumerate(zip(new_terms, old_terms, strict=True)):
        for key in ("matchExpressions", "matchFields"):
            had = before.get(key) or []
            if (not before.get("matchExpressions") and not before.get("matchFields") and new != before) \
                    or (new.get(key) or [])[:len(had)] != had:
                errors.append(field.invalid(at.index(position), _go_term(new), "only additions are allowed (no mutations or deletions)"))
                break
    return errors


def _go_term(term: Object) -> Object:
    """A node selector term as Go prints it in messages."""
    def requirements(items: list[Object] | None) -> list[Object] | None:
        return [{"Key": item.get("key", ""), "Operator": item.get("operator", ""), "Values": item.get("values")} for item in items] \
            if items else None

    return {"MatchExpressions": requirements(term.get("matchExpressions")), "MatchFields": requirements(term.get("matchFields"))}


def ephemeral_update(obj: Object, old: Object) -> Errors:
    """ValidatePodEphemeralContainersUpdate: containers may be added, never changed or removed."""
    new = {container.get("name"): container for container in (obj.get("spec") or {}).get("ephemeralContainers") or ()}
    at = SPEC.child("ephemeralContainers")
    errors: Errors = []
    for container in (old.get("spec") or {}).get("ephemeralContainers") or ():
        title = container.get("name", "")
        if title not in new:
            errors.append(field.forbidden(at, f'existing ephemeral containers "{title}" may not be removed\n'))
        elif not same(new[title], container):
            changes = ephemeral_diff(container, new[title])
            errors.append(field.forbidden(at, f'existing ephemeral containers "{title}" may not be changed\n{changes}'))
    return errors
