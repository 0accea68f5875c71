"""The options of requests: read from the query (or, for DELETE, the body) and checked with Kubernetes' words
(`metav1.{Create,Update,Patch,Delete}Options` and their validation)."""
from __future__ import annotations

import orjson

from kubepy.api.errors import BadRequest, Invalid
from kubepy.api.field import Errors, FieldError, Path, forbidden, invalid, not_supported
from kubepy.api.types import Object
from kubepy.api.validation.meta import validate_field_manager
from kubepy.apiserver.info import Query, first, true
from kubepy.apiserver.request import Context

_GROUP = "meta.k8s.io"
APPLY = "application/apply-patch+yaml"
APPLY_CBOR = "application/apply-patch+cbor"


def integer(query: Query, name: str) -> int | None:
    """A number in the query; raises BadRequest in Go's words."""
    text = first(query, name)
    if not text:
        return None
    return parse_int(text)


def parse_int(text: str) -> int:
    digits = text[1:] if text[:1] in "+-" else text
    if not digits.isascii() or not digits.isdigit():
        raise BadRequest(f"strconv.ParseInt: parsing {_quoted(text)}: invalid syntax")
    value = int(text) if len(digits) < 100 else 1 << 64
    if not -(1 << 63) <= value < 1 << 63:
        raise BadRequest(f"strconv.ParseInt: parsing {_quoted(text)}: value out of range")
    return value


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _dry_run_errors(values: list[str]) -> Errors:
    if not values or set(values) == {"All"}:
        return []
    return [FieldError("dryRun", "FieldValueNotSupported", f'Unsupported value: {orjson.dumps(values).decode()}: supported values: "All"')]


def apply_write_options(context: Context, kind: str, patch_type: str = "") -> bool:
    """Fills the context from CreateOptions, UpdateOptions or PatchOptions (`kind`); answers whether apply was forced.

    Raises Invalid."""
    query = context.query
    if not query:
        context.dry_run, context.field_manager, context.field_validation = False, "", "Warn"
        if patch_type in (APPLY, APPLY_CBOR):
            raise Invalid.of(_GROUP, kind, "", [_manager_required()])
        return False
    dry_run = query.get("dryRun", [])
    manager, validation = first(query, "fieldManager"), first(query, "fieldValidation")
    force = true(query, "force")
    errors: Errors = []
    if kind == "PatchOptions":
        if patch_type in (APPLY, APPLY_CBOR):
            if not manager:
                errors.append(_manager_required())
        elif "force" in query:
            errors.append(forbidden(Path("force"), "may not be specified for non-apply patch"))
    errors += validate_field_manager(manager, Path("fieldManager"))
    errors += _dry_run_errors(dry_run)
    if validation not in ("", "Ignore", "Strict", "Warn"):
        errors.append(not_supported(Path("fieldValidation"), validation, ["", "Ignore", "Strict", "Warn"]))
    if errors:
        raise Invalid.of(_GROUP, kind, "", errors)
    context.dry_run = bool(dry_run)
    context.field_manager = manager
    context.field_validation = validation or "Warn"  # type: ignore[assignment]
    return force


def _manager_required() -> FieldError:
    return FieldError("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")


def delete_options(context: Context, body: Object | None) -> Object:
    """DeleteOptions from the body, or else the query; raises BadRequest or Invalid."""
    options = body if body is not None else _delete_query(context.query)
    errors: Errors = []
    orphan, policy = options.get("orphanDependents"), options.get("propagationPolicy")
    if orphan is not None and policy is not None:
        errors.append(invalid(Path("propagationPolicy"), policy, "orphanDependents and deletionPropagation cannot be both set"))
    if policy is not None and policy not in ("Foreground", "Background", "Orphan"):
        errors.append(not_supported(Path("propagationPolicy"), policy, ["Foreground", "Background", "Orphan", "nil"]))
    errors += _dry_run_errors(options.get("dryRun") or [])
    if errors:
        raise Invalid.of(_GROUP, "DeleteOptions", "", errors)
    context.dry_run = bool(options.get("dryRun"))
    grace = options.get("gracePeriodSeconds")
    if grace is not None and grace < 0:
        options = {**options, "gracePeriodSeconds": 1}  # upstream reads a negative period as "soon"
    return options


def _delete_query(query: Query) -> Object:
    if not query:
        return {}
    options: Object = {}
    grace = integer(query, "gracePeriodSeconds")
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    if "orphanDependents" in query:
        options["orphanDependents"] = true(query, "orphanDependents")
    if policy := first(query, "propagationPolicy"):
        options["propagationPolicy"] = policy
    if "dryRun" in query:
        options["dryRun"] = query["dryRun"]
    if true(query, "ignoreStoreReadErrorWithClusterBreakingPotential"):
        options["ignoreStoreReadErrorWithClusterBreakingPotential"] = True
    return options
