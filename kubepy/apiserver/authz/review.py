"""The access reviews: SubjectAccessReview, its local and self forms, and SelfSubjectRulesReview (`pkg/registry/authorization`)."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from kubepy.api import field
from kubepy.api.errors import BadRequest, InternalError, Invalid
from kubepy.api.field import Errors, FieldError, Path
from kubepy.api.selector import SelectorError, from_object, parse_fields, parse_labels
from kubepy.api.types import Object
from kubepy.apiserver.authz.build import Union
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.rbac import join_errors
from kubepy.apiserver.request import Context, User
from kubepy.apiserver.services import Services

_GROUP = "authorization.k8s.io"
_SPEC = Path("spec")
_META_ORDER = ("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
               "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields")
_MANAGED_ORDER = ("manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource")


async def subject_access_review(services: Services, context: Context, obj: Object) -> Object:
    spec = obj.get("spec") or {}
    _refuse(_check_spec(spec, subject=True) + _check_metadata(obj, "must be empty"))
    return await _answer(services, obj, spec, _subject(spec))


async def self_subject_access_review(services: Services, context: Context, obj: Object) -> Object:
    spec = obj.get("spec") or {}
    _refuse(_check_spec(spec, subject=False) + _check_metadata(obj, "must be empty"))
    return await _answer(services, obj, spec, context.user)


async def local_subject_access_review(services: Services, context: Context, obj: Object) -> Object:
    spec = obj.get("spec") or {}
    namespace = obj["metadata"].get("namespace") or context.info.namespace
    errors = _check_spec(spec, subject=True) + _check_metadata(obj, "must be empty except for namespace", local=True)
    attributes = spec.get("resourceAttributes")
    if attributes is not None and attributes.get("namespace", "") != namespace:
        errors.append(field.invalid(_SPEC.child("resourceAttributes", "namespace"), attributes.get("namespace", ""),
                                    "must match metadata.namespace"))
    if spec.get("nonResourceAttributes") is not None:
        errors.append(_path_error(spec, "disallowed on this kind of request"))
    _refuse(errors)
    return await _answer(services, obj, spec, _subject(spec))


async def self_subject_rules_review(services: Services, context: Context, obj: Object) -> Object:
    namespace = (obj.get("spec") or {}).get("namespace") or ""
    if not namespace:
        raise BadRequest("no namespace on request")
    authorizer = services.authorizer
    if not isinstance(authorizer, Union):
        raise InternalError.of("the authorizer cannot list rules")
    rules, errors, incomplete = authorizer.rules_for(context.user, namespace)
    status: Object = {"resourceRules": [], "nonResourceRules": [], "incomplete": incomplete}
    for rule in rules:
        if rule.get("nonResourceURLs"):
            status["nonResourceRules"].append({"verbs": rule.get("verbs") or [], "nonResourceURLs": rule["nonResourceURLs"]})
        if rule.get("resources"):
            shown = ("verbs", "apiGroups", "resources", "resourceNames")
            status["resourceRules"].append({key: rule[key] for key in shown if rule.get(key)})
    if errors:
        status["evaluationError"] = ", ".join(errors)
    return {"kind": "SelfSubjectRulesReview", "apiVersion": f"{_GROUP}/v1", "metadata": {}, "spec": {}, "status": status}


async def _answer(services: Services, obj: Object, spec: Object, user: User) -> Object:
    assert services.authorizer is not None
    decision = await services.authorizer.authorize(access_of(spec, user))
    status: Object = {"allowed": decision.allowed}
    if decision.verdict == "deny":
        status["denied"] = True
    if decision.reason:
        status["reason"] = decision.reason
    if problems := [text for text in (decision.error, *unread(spec)) if text]:
        status["evaluationError"] = join_errors(problems)
    return {**obj, "status": status}


def access_of(spec: Object, user: User) -> Access:
    """The question that a review's spec asks about a user."""
    attributes = spec.get("resourceAttributes")
    if attributes is None:
        paths = spec.get("nonResourceAttributes") or {}
        return Access(user, paths.get("verb", ""), path=paths.get("path", ""), is_resource=False)
    def text(key: str) -> str:
        return attributes.get(key) or ""

    return Access(user, text("verb"), text("group"), text("version"), text("resource"), text("subresource"), text("namespace"),
                  text("name"), field_selector=_selector_text(attributes.get("fieldSelector")),
                  label_selector=_selector_text(attributes.get("labelSelector")))


def _subject(spec: Object) -> User:
    extra: Mapping[str, list[str]] = spec.get("extra") or {}
    return User(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups") or ()),
                {key.lower(): value for key, value in extra.items()})


def _selector_text(selector: Object | None) -> str:
    """A selector as a request would carry it; what has no such form is left out (it only makes the question wider)."""
    if not selector:
        return ""
    if raw := selector.get("rawSelector"):
        return str(raw)
    terms = []
    for requirement in selector.get("requirements") or ():
        values = requirement.get("values") or []
        if requirement.get("operator") == "In" and len(values) == 1:
            terms.append(f"{requirement.get('key')}={values[0]}")
        elif requirement.get("operator") == "NotIn":
            terms += [f"{requirement.get('key')}!={value}" for value in values]
    return ",".join(terms)


def unread(spec: Object) -> list[str]:
    """What is said of selectors that cannot be read and so do not narrow the question."""
    attributes = spec.get("resourceAttributes") or {}
    found = []
    for name, parse, one in (("fieldSelector", parse_fields, _field_requirement), ("labelSelector", parse_labels, _label_requirement)):
        selector = attributes.get(name) or {}
        requirements = selector.get("requirements") or ()
        bad = sum(not _reads(one, requirement) for requirement in requirements)
        if (raw := selector.get("rawSelector")) and not _reads(parse, raw):
            bad, requirements = 1, ()
        if bad:
            share = "partially ignored" if bad < len(requirements) else "ignored"
            found.append(f"spec.resourceAttributes.{name} {share} due to parse error")
    return found


def _reads(parse: Callable[[Any], Any], value: Any) -> bool:
    try:
        parse(value)
    except SelectorError:
        return False
    return True


def _field_requirement(requirement: Object) -> None:
    if requirement.get("operator") not in ("In", "NotIn") or len(requirement.get("values") or ()) != 1:
        raise SelectorError("field selectors know one value, and whether it is there")


def _label_requirement(requirement: Object) -> None:
    from_object({"matchExpressions": [requirement]})


def _refuse(errors: Errors) -> None:
    if errors:
        raise Invalid.of(_GROUP, "", "", errors)


def _check_spec(spec: Object, *, subject: bool) -> Errors:
    errors: Errors = []
    attributes, paths = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if attributes is not None and paths is not None:
        errors.append(_path_error(spec, "cannot be specified in combination with resourceAttributes"))
    if attributes is None and paths is None:
        errors.append(field.invalid(_SPEC.child("resourceAttributes"), None,
                                    "exactly one of nonResourceAttributes or resourceAttributes must be specified"))
    if subject and not spec.get("user") and not spec.get("groups"):
        errors.append(field.invalid(_SPEC.child("user"), "", "at least one of user or group must be specified"))
    if attributes is not None:
        for name, labels in (("fieldSelector", False), ("labelSelector", True)):
            if attributes.get(name) is not None:
                errors += _check_selector(attributes[name], _SPEC.child("resourceAttributes", name), labels)
    return errors


def _check_selector(selector: Object, path: Path, labels: bool) -> Errors:
    raw, requirements = selector.get("rawSelector") or "", selector.get("requirements") or []
    if raw and requirements:
        return [field.invalid(path.child("rawSelector"), raw, "may not specified at the same time as requirements")]
    if not raw and not requirements:
        what = "labelSelector" if labels else "fieldSelector"
        return [field.required(path.child("requirements"), f"when {what} is specified, requirements or rawSelector is required")]
    errors: Errors = []
    for position, requirement in enumerate(requirements):
        errors += _check_requirement(requirement, path.child("requirements").index(position), labels)
    return errors


def _check_requirement(requirement: Object, path: Path, labels: bool) -> Errors:
    errors: Errors = []
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    if not labels and not requirement.get("key"):
        errors.append(field.required(path.child("key"), "must be specified"))
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(field.required(path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.append(field.forbidden(path.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
    elif labels:
        errors.append(field.invalid(path.child("operator"), operator, "not a valid selector operator"))
    return errors


def _path_error(spec: Object, detail: str) -> FieldError:
    paths = spec["nonResourceAttributes"]
    return field.invalid(_SPEC.child("nonResourceAttributes"), {"Path": paths.get("path", ""), "Verb": paths.get("verb", "")}, detail)


def _check_metadata(obj: Object, detail: str, *, local: bool = False) -> Errors:
    metadata = obj.get("metadata") or {}
    if not {key for key, value in metadata.items() if value} - ({"managedFields", "namespace"} if local else {"managedFields"}):
        return []
    ordered = _ordered(metadata, _META_ORDER)
    ordered["managedFields"] = [_ordered(item, _MANAGED_ORDER) for item in metadata.get("managedFields") or ()]
    if not ordered["managedFields"]:
        del ordered["managedFields"]
    for item in ordered.get("managedFields", ()):
        item["fieldsV1"] = orjson.Fragment(orjson.dumps(item.get("fieldsV1"), option=orjson.OPT_SORT_KEYS))
    return [FieldError("metadata", "FieldValueInvalid", f"Invalid value: {orjson.dumps(ordered).decode()}: {detail}")]


def _ordered(values: Mapping[str, Any], order: tuple[str, ...]) -> Object:
    """The fields in Go's order, as its encoder writes a struct."""
    return {key: values[key] for key in order if values.get(key)}
