"""Validation of CustomResourceDefinitions: names, versions, columns, subresources, conversion.

Source: `apiextensions-apiserver/pkg/apis/apiextensions/validation`.
"""
from __future__ import annotations

import re

from kubepy.api import field, name
from kubepy.api.field import Errors, FieldError, Path
from kubepy.api.structural import Node, parse
from kubepy.api.structural.default_validation import validate_defaults
from kubepy.api.structural.root import validate_root
from kubepy.api.structural.rule import Rules
from kubepy.api.structural.rule_validation import validate_rules
from kubepy.api.structural.schema_validation import validate_schema
from kubepy.api.types import Object
from kubepy.apiserver.crd.naming import conversion_bundle
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.admissionregistration.webhook import client_config
from kubepy.apiserver.webhook.tls import bundle_problem

_SPEC = Path("spec")
_APPROVED = "api-approved.kubernetes.io"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_ONE_STORAGE = "must have exactly one version marked as storage version"
_GO_VERSION = (("Name", "name", ""), ("Served", "served", False), ("Storage", "storage", False), ("Deprecated", "deprecated", False),
               ("DeprecationWarning", "deprecationWarning", None))


def definition(obj: Object) -> Errors:
    """ValidateCustomResourceDefinition."""
    spec, title = obj.get("spec") or {}, (obj.get("metadata") or {}).get("name", "")
    errors: Errors = []
    if title != f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}":
        errors.append(field.invalid(Path("metadata.name"), title, 'must be spec.names.plural+"."+spec.group'))
    return errors + _whole(obj)


def _whole(obj: Object) -> Errors:
    """All but the name, which updates do not check."""
    spec, metadata, status = obj.get("spec") or {}, obj.get("metadata") or {}, obj.get("status") or {}
    errors = definition_spec(spec)
    errors += _stored(spec, status)
    return errors + _protected(spec, metadata)


def definition_spec(spec: Object) -> Errors:
    errors: Errors = []
    group, versions = spec.get("group", ""), spec.get("versions")
    if not group:
        errors.append(field.required(_SPEC.child("group")))
    elif complaints := name.subdomain(group):
        errors += [field.invalid(_SPEC.child("group"), group, message) for message in complaints]
    elif "." not in group:
        errors.append(field.invalid(_SPEC.child("group"), group, "should be a domain with at least one dot"))
    errors += check.need_one_of(spec.get("scope"), _SPEC.child("scope"), ("Cluster", "Namespaced"))
    errors += _versions(versions)
    errors += _names(spec.get("names") or {}, _SPEC.child("names"))
    errors += _conversion(spec.get("conversion") or {}, _SPEC.child("conversion"))
    if spec.get("preserveUnknownFields"):
        errors.append(field.invalid(_SPEC.child("preserveUnknownFields"), True,
                                    "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema "
                                    "instead"))
    return errors


def _versions(given: list[Object] | None) -> Errors:
    errors: Errors = []
    versions = given or []
    path = _SPEC.child("versions")
    single = len(versions) == 1 or all(_parts(version) == _parts(versions[0]) for version in versions)
    titles = [version.get("name", "") for version in versions]
    for position, version in enumerate(versions):
        errors += check.named(name.label_1035, version.get("name", ""), path.index(position).child("name"))
        if (warning := version.get("deprecationWarning")) is not None:
            where = path.index(position).child("deprecationWarning")
            errors += [field.invalid(where, warning, text) for text in _deprecation(warning, bool(version.get("deprecated")))]
        if not single:
            errors += _parts_of(version, path.index(position))
    if len(set(titles)) != len(titles):
        errors.append(field.invalid(path, [_go(version) for version in versions], "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        errors.append(field.invalid(path, [_go(version) for version in versions] if given is not None else None, _ONE_STORAGE))
    if versions:
        errors += [field.invalid(_SPEC.child("version"), titles[0], message) for message in name.label_1035(titles[0])]
        if single:
            errors += _parts_of(versions[0], _SPEC)
    for position, version in enumerate(versions):
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            errors.append(field.required(path.index(position).child("schema", "openAPIV3Schema")))
    return errors


def _deprecation(warning: str, deprecated: bool) -> list[str]:
    if not deprecated:
        return ["can only be set for deprecated versions"]
    found = ["must be <= 256 characters long"] if len(warning.encode()) > 256 else []
    if not warning:
        found.append("must not be an empty string")
    bad = next((position for position, char in enumerate(warning) if not char.isprintable()), None)
    if bad is not None:
        found.append("must only contain printable UTF-8 characters; non-printable character found at index "
                     f"{len(warning[:bad].encode())}")
    return found


def _parts(version: Object) -> tuple[object, ...]:
    return tuple(version.get(key) for key in ("schema", "subresources", "additionalPrinterColumns", "selectableFields"))


def _go(version: Object) -> Object:
    """A version as Go prints it; what all versions share is told elsewhere."""
    shown = field.Struct({go: version.get(wire, default) for go, wire, default in _GO_VERSION})
    return field.Struct({**shown, "Schema": None, "Subresources": None, "AdditionalPrinterColumns": None, "SelectableFields": None})


def _parts_of(version: Object, path: Path) -> Errors:
    errors: Errors = []
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is not None:
        where = path.child("validation" if path.text == "spec" else "schema", "openAPIV3Schema")
        if (version.get("subresources") or {}).get("status") is not None:
            errors += validate_root(schema, where)
        errors += schema_errors(schema, where)
    for position, shown in enumerate(version.get("additionalPrinterColumns") or ()):
        errors += _column(shown, path.child("additionalPrinterColumns").index(position))
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        errors += _scale(scale, path.child("subresources", "scale"))
    errors += _selectable(version, path.child("selectableFields"))
    return errors


def schema_errors(schema: Object, path: Path) -> Errors:
    """Errors of a schema: what it is made of, its defaults, its rules."""
    errors, readable = validate_schema(schema, path)
    if not errors and readable:
        node = parse(schema)
        errors += validate_rules(node, path) if node.ruled else []
        errors += validate_defaults(node, path, None if errors else default_rules)
    return errors


def default_rules(value: object, node: Node, path: Path) -> Errors:
    """What the rules say of a default."""
    return Rules(node).check(value, path=path)


def _column(shown: Object, path: Path) -> Errors:
    errors = check.need(shown.get("name"), path.child("name"))
    kind = shown.get("type", "")
    if not kind:
        errors.append(field.required(path.child("type"), f"must be one of {','.join(_COLUMN_TYPES)}"))
    elif kind not in _COLUMN_TYPES:
        errors.append(field.invalid(path.child("type"), kind, f"must be one of {','.join(_COLUMN_TYPES)}"))
    if shown.get("format") and shown["format"] not in _COLUMN_FORMATS:
        errors.append(field.invalid(path.child("format"), shown["format"], f"must be one of {','.join(_COLUMN_FORMATS)}"))
    return errors + _simple_path(shown.get("jsonPath", ""), path.child("JSONPath"))


def _simple_path(text: str, path: Path) -> Errors:
    if not text:
        return [field.required(path)]
    return [] if text.startswith(".") else [field.invalid(path, text, "must be a simple json path starting with .")]


def _scale(scale: Object, path: Path) -> Errors:
    errors: Errors = []
    for key, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status."), ("labelSelectorPath", "")):
        text = scale.get(key)
        if key == "labelSelectorPath" and not text:
            continue
        problems = _simple_path(text or "", path.child(key))
        if not problems and root and not (text or "").startswith(root):
            problems = [field.invalid(path.child(key), text, f"should be a json path under {root.rstrip('.')}")]
        if not problems and not root and not (text or "").startswith((".status.", ".spec.")):
            problems = [field.invalid(path.child(key), text, "should be a json path under either .spec or .status")]
        errors += problems
    return errors


def _selectable(version: Object, path: Path) -> Errors:
    fields = version.get("selectableFields") or []
    errors: Errors = []
    if len(fields) > 8:
        errors.append(field.too_many(path, len(fields), 8))
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    seen: set[str] = set()
    for position, item in enumerate(fields):
        here = path.index(position).child("jsonPath")
        text = item.get("jsonPath", "")
        if not text:
            errors.append(field.required(here))
            continue
        if not text.startswith((".", "[")):
            errors.append(field.invalid(here, text, f"is an invalid path: expected [ or . but got: {re.split(r'[.[]', text)[0]}"))
            continue
        if "[" in text:
            errors.append(field.invalid(here, text, "is an invalid path: array notation is not allowed"))
            continue
        found = _field_type(schema, text) if not text.startswith(".metadata.") else None
        if found is None:
            errors.append(field.invalid(here, text, "is an invalid path: does not refer to a valid field"))
        elif found not in ("boolean", "integer", "string"):
            errors.append(field.invalid(here, text,
                                        "must point to a field of type string, boolean or integer. Enum string fields and strings "
                                                    "with formats are allowed."))
        if text in seen:
            errors.append(field.duplicate(here, text))
        seen.add(text)
    return errors


def _field_type(schema: Object, text: str) -> str | None:
    found: Object | None = schema
    for part in text.removeprefix(".").split("."):
        found = ((found or {}).get("properties") or {}).get(part)
        if found is None:
            return None
    return str((found or {}).get("type", ""))


def _names(names: Object, path: Path) -> Errors:
    errors: Errors = []
    for key in ("plural", "singular"):
        errors += check.need_named(name.label_1035, names.get(key, ""), path.child(key))
    for key in ("kind", "listKind"):
        text = names.get(key, "")
        if not text:
            errors.append(field.required(path.child(key)))
        elif complaints := name.label_1035(text.lower()):
            errors.append(field.invalid(path.child(key), text, f"may have mixed case, but should otherwise match: {','.join(complaints)}"))
    for key in ("shortNames", "categories"):
        for position, text in enumerate(names.get(key) or ()):
            errors += check.named(name.label_1035, text, path.child(key).index(position))
    alike = names.get("kind") and names.get("kind") == names.get("listKind")
    errors.sort(key=_name_order)
    if alike:
        last = next((at for at, error in enumerate(errors) if ".categories" in error.field), len(errors))
        errors.insert(last, field.invalid(path.child("listKind"), names["listKind"], "kind and listKind may not be the same"))
    return errors


def _name_order(error: FieldError) -> int:
    order = ("plural", "singular", "kind", "listKind", "shortNames", "categories")
    last = error.field.rpartition("names.")[2].partition("[")[0]
    return order.index(last) if last in order else len(order)


def _conversion(conversion: Object, path: Path) -> Errors:
    strategy = conversion.get("strategy", "")
    errors = check.need_one_of(strategy, path.child("strategy"), ("None", "Webhook"))
    webhook = conversion.get("webhook") or {}
    config, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy == "Webhook":
        if config is None:
            errors.append(field.required(path.child("webhookClientConfig"), "required when strategy is set to Webhook"))
        else:
            errors += client_config(config, path.child("webhookClientConfig"))
        if not versions:
            errors.append(field.required(path.child("conversionReviewVersions")))
        elif not {"v1", "v1beta1"}.intersection(versions):
            errors.append(field.invalid(path.child("conversionReviewVersions"), versions, "must include at least one of v1, v1beta1"))
        return errors
    text = "should not be set when strategy is not set to Webhook"
    if config is not None:
        errors.append(field.forbidden(path.child("webhookClientConfig"), text))
    if versions:
        errors.append(field.forbidden(path.child("conversionReviewVersions"), text))
    return errors


def _stored(spec: Object, status: Object) -> Errors:
    """storedVersions names versions that exist, the storage version among them."""
    path = Path("status.storedVersions")
    stored = status.get("storedVersions") or []
    if not stored:
        return [field.invalid(path, status.get("storedVersions"), "must have at least one stored version")]
    titles = [version.get("name") for version in spec.get("versions") or ()]
    storage = [version.get("name", "") for version in spec.get("versions") or () if version.get("storage")]
    errors = [field.invalid(path.index(position), version,
                            f"missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions "
                            f"until a storage migration ensures no data remains persisted in {version} and removes {version} from "
                            "status.storedVersions")
              for position, version in enumerate(stored) if version not in titles]
    for version in storage:
        if version not in stored:
            errors.append(field.invalid(path, stored, f"must have the storage version {version}"))
    return errors


def _protected(spec: Object, metadata: Object) -> Errors:
    group = spec.get("group", "")
    if not (group == "k8s.io" or group.endswith((".k8s.io", ".kubernetes.io")) or group == "kubernetes.io"):
        return []
    path = Path("metadata.annotations").key(_APPROVED)
    value = (metadata.get("annotations") or {}).get(_APPROVED)
    link = "see https://github.com/kubernetes/enhancements/pull/1111"
    if not value:
        return [field.required(path, f'protected groups must have approval annotation "{_APPROVED}", {link}')]
    if not value.startswith(("unapproved", "https://", "http://")):
        return [field.invalid(path, value, f'protected groups must have approval annotation "{_APPROVED}" with either a URL or a reason '
                                           f'starting with "unapproved", {link}')]
    return []


def definition_update(obj: Object, old: Object) -> Errors:
    """ValidateCustomResourceDefinitionUpdate: some of it may not change once a definition is established."""
    new, before = obj.get("spec") or {}, old.get("spec") or {}
    errors = _whole(obj)
    bundle, known = conversion_bundle(obj), conversion_bundle(old)
    if bundle != known and not bundle_problem(known) and (problem := bundle_problem(bundle)):
        errors.append(field.invalid(_SPEC.child("conversion", "webhookClientConfig", "caBundle"), bundle, problem))
    conditions = (old.get("status") or {}).get("conditions") or []
    if any(item.get("type") == "Established" and item.get("status") == "True" for item in conditions):
        errors += check.immutable(new.get("scope"), before.get("scope"), _SPEC.child("scope"))
        errors += check.immutable((new.get("names") or {}).get("kind"), (before.get("names") or {}).get("kind"),
                                  _SPEC.child("names", "kind"))
    errors += check.immutable(new.get("group"), before.get("group"), _SPEC.child("group"))
    return errors + check.immutable((new.get("names") or {}).get("plural"), (before.get("names") or {}).get("plural"),
                                    _SPEC.child("names", "plural"))
