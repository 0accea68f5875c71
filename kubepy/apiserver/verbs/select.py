"""Which objects a list, watch or deletecollection means: selectors, resource versions, pages (`internalversion.ListOptions`)."""
from __future__ import annotations

from dataclasses import dataclass, replace

from kubepy.api.errors import BadRequest, Invalid
from kubepy.api.field import Errors, Path, forbidden, not_supported
from kubepy.api.selector import FieldSelector, LabelSelector, SelectorError, parse_fields, parse_labels
from kubepy.apiserver.info import Query, first
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry, Matcher, Page
from kubepy.apiserver.verbs.option import integer

_MATCH = Path("resourceVersionMatch")
_ALWAYS = frozenset(("metadata.name", "metadata.namespace"))


@dataclass(frozen=True, slots=True)
class Selection:
    labels: LabelSelector | None
    fields: FieldSelector | None
    name: str = ""
    """The one name a field selector demands, or empty."""

    @property
    def match(self) -> Matcher | None:
        """None when everything is selected."""
        labels, fields = self.labels, self.fields
        if labels is None and fields is None:
            return None
        if fields is None:
            assert labels is not None
            chosen = labels
            return lambda entry: chosen.matches(entry.labels)
        picked = fields
        if labels is None:
            return lambda entry: picked.matches(entry.fields)
        both = labels
        return lambda entry: both.matches(entry.labels) and picked.matches(entry.fields)

    def matches(self, entry: Entry) -> bool:
        return (self.labels is None or self.labels.matches(entry.labels)) and (self.fields is None or self.fields.matches(entry.fields))


def selection(kind: Kind, query: Query) -> Selection:
    """Raises BadRequest for what cannot be parsed or is not selectable."""
    labels: LabelSelector | None = None
    fields: FieldSelector | None = None
    try:
        if text := first(query, "labelSelector"):
            labels = parse_labels(text)
    except SelectorError as error:
        raise BadRequest(str(error)) from error
    try:
        if text := first(query, "fieldSelector"):
            fields = parse_fields(text)
    except SelectorError as error:
        raise BadRequest(str(error)) from error
    name = ""
    if fields is not None:
        for term in fields.requirements:
            if term.field not in kind.selectable and term.field not in _ALWAYS:
                raise BadRequest(kind.unknown_field.replace("{field}", term.field))
            if term.field == "metadata.name" and term.operator == "=":
                name = term.value
        if kind.stored_fields:
            renamed = (replace(term, field=kind.stored_fields.get(term.field, term.field)) for term in fields.requirements)
            fields = FieldSelector(tuple(renamed))
    return Selection(labels, fields, name)


def check_list_options(query: Query, *, watch: bool) -> None:
    """ValidateListOptions; raises Invalid, or BadRequest for what is no number."""
    integer(query, "limit")
    integer(query, "timeoutSeconds")
    match, version = first(query, "resourceVersionMatch"), first(query, "resourceVersion")
    errors: Errors = []
    initial = "sendInitialEvents" in query
    if watch:
        if initial and match != "NotOlderThan":
            errors.append(forbidden(_MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
        if match and not initial:
            errors.append(forbidden(_MATCH, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
        if match and match != "NotOlderThan":
            errors.append(not_supported(_MATCH, match, ["NotOlderThan"]))
    else:
        if match:
            if not version:
                errors.append(forbidden(_MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
            if first(query, "continue"):
                errors.append(forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
            if match not in ("Exact", "NotOlderThan"):
                errors.append(not_supported(_MATCH, match, ["Exact", "NotOlderThan", ""]))
            if match == "Exact" and version == "0":
                errors.append(forbidden(_MATCH, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
        if initial:
            errors.append(forbidden(Path("sendInitialEvents"), "sendInitialEvents is forbidden for list"))
    if errors:
        raise Invalid.of("meta.k8s.io", "ListOptions", "", errors)


async def list_page(server: Server, context: Context) -> Page:
    """The page a list request asks for; raises ApiError."""
    kind, query = context.kind, context.query
    check_list_options(query, watch=False)
    chosen = selection(kind, query)
    namespace = (context.info.namespace or None) if kind.resource.namespaced else None
    limit = max(0, integer(query, "limit") or 0)
    versions = query.get("resourceVersion")
    return await server.store(kind).list(
        namespace, match=chosen.match, resource_version=versions[0] if versions and versions[0] else None,
        resource_version_match=first(query, "resourceVersionMatch") or None, limit=limit, continue_token=first(query, "continue"),
        labels=chosen.labels.matches if chosen.labels is not None else None)

