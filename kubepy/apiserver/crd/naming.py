"""Which names a definition gets, and what its conditions say (`pkg/controller/status`, `establish`, `apiapproval`). Pure."""
from __future__ import annotations

from collections.abc import Iterable

from kubepy.api.gofmt import go_quote
from kubepy.api.types import Object
from kubepy.apiserver.webhook.tls import bundle_problem

APPROVED = "api-approved.kubernetes.io"
_PROTECTED = ("k8s.io", "kubernetes.io")


def is_protected(group: str) -> bool:
    """Groups that belong to the Kubernetes project."""
    return any(group == suffix or group.endswith(f".{suffix}") for suffix in _PROTECTED)


def approval(annotations: Object) -> tuple[str, str, str]:
    """State, reason and message of the approval policy: the state is approved, bypassed, missing or invalid."""
    value = annotations.get(APPROVED) or ""
    if not value:
        return "missing", "MissingAnnotation", (f'protected groups must have approval annotation "{APPROVED}", '
                                                "see https://github.com/kubernetes/enhancements/pull/1111")
    if value.startswith("unapproved"):
        return "bypassed", "UnapprovedAnnotation", f"not approved: {go_quote(value)}"
    if _is_url(value):
        return "approved", "ApprovedAnnotation", f"approved in {value}"
    return "invalid", "InvalidAnnotation", (
        f'protected groups must have approval annotation "{APPROVED}" with either a URL or a reason starting with "unapproved", '
        "see https://github.com/kubernetes/enhancements/pull/1111")


def _is_url(value: str) -> bool:
    scheme, mark, rest = value.partition("://")
    return bool(mark and scheme.isalpha() and rest.partition("/")[0])


def conversion_bundle(crd: Object) -> str:
    """The authorities by which a conversion webhook is trusted; "" for the system's."""
    webhook = (crd["spec"].get("conversion") or {}).get("webhook") or {}
    return str((webhook.get("clientConfig") or {}).get("caBundle") or "")


def condition_of(crd: Object, kind: str) -> Object | None:
    return next((item for item in (crd.get("status") or {}).get("conditions") or () if item.get("type") == kind), None)


def is_true(crd: Object, kind: str) -> bool:
    found = condition_of(crd, kind)
    return found is not None and found.get("status") == "True"


def is_established(crd: Object) -> bool:
    return is_true(crd, "Established")


class Taken:
    """The names that the definitions of a group have been given, and by whom; made once for all that are to be judged."""

    def __init__(self, definitions: Iterable[Object]) -> None:
        self._names: dict[str, set[str]] = {}
        self._kinds: dict[str, set[str]] = {}
        for crd in definitions:
            names, owner = (crd.get("status") or {}).get("acceptedNames") or {}, crd["metadata"]["name"]
            for name in (names.get("plural"), names.get("singular"), *(names.get("shortNames") or ())):
                self._names.setdefault(name or "", set()).add(owner)
            for kind in (names.get("kind"), names.get("listKind")):
                self._kinds.setdefault(kind or "", set()).add(owner)

    def name(self, name: str, crd: Object) -> bool:
        """Whether another definition has the name."""
        return bool(name) and bool(self._names.get(name, set()) - {crd["metadata"]["name"]})

    def kind(self, kind: str, crd: Object) -> bool:
        return bool(kind) and bool(self._kinds.get(kind, set()) - {crd["metadata"]["name"]})


def plan_status(crd: Object, others: Iterable[Object] | Taken, now: str) -> Object:
    """The status a definition should have beside the others of its group. `now` dates what changes."""
    spec = crd["spec"]
    status: Object = dict(crd.get("status") or {})
    accepted, naming, established = _names(crd, others if isinstance(others, Taken) else Taken(others))
    conditions: list[Object] = list(status.get("conditions") or ())
    _set(conditions, naming, now)
    if established is not None:
        _set(conditions, established, now)
    if is_protected(spec["group"]):
        state, reason, message = approval(crd["metadata"].get("annotations") or {})
        _set(conditions, {"type": "KubernetesAPIApprovalPolicyConformant", "status": "True" if state == "approved" else "False",
                          "reason": reason, "message": message}, now)
    return {**status, "acceptedNames": accepted, "conditions": conditions}


def _names(crd: Object, taken: Taken) -> tuple[Object, Object, Object | None]:
    """Accepted names, the condition of names, and that of establishment where it changes."""
    wanted = crd["spec"]["names"]
    old = (crd.get("status") or {}).get("acceptedNames") or {}
    accepted: Object = {field: old[field] for field in ("plural", "singular", "shortNames", "kind", "listKind", "categories")
                        if old.get(field)}
    reason = message = ""

    def judge(field: str, value: str, used: bool, why: str) -> None:
        nonlocal reason, message
        if used and value != (old.get(field) or ""):
            reason, message = why, f"{go_quote(value)} is already in use"
        else:
            accepted[field] = value

    judge("plural", wanted["plural"], taken.name(wanted["plural"], crd), "PluralConflict")
    singular, list_kind = wanted.get("singular") or "", wanted.get("listKind") or ""
    judge("singular", singular, taken.name(singular, crd), "SingularConflict")
    short = list(wanted.get("shortNames") or ())
    before = set(old.get("shortNames") or ())
    clashes = [f"{go_quote(name)} is already in use" for name in short if taken.name(name, crd) and name not in before]
    if clashes:
        reason, message = "ShortNamesConflict", clashes[0] if len(clashes) == 1 else f"[{', '.join(clashes)}]"
    else:
        accepted["shortNames"] = short
    judge("kind", wanted["kind"], taken.kind(wanted["kind"], crd), "KindConflict")
    judge("listKind", list_kind, taken.kind(list_kind, crd), "ListKindConflict")
    accepted["categories"] = list(wanted.get("categories") or ())
    shown: Object = {"plural": accepted.get("plural") or "", "kind": accepted.get("kind") or ""}
    shown |= {field: accepted[field] for field in ("singular", "shortNames", "listKind", "categories") if accepted.get(field)}
    if reason:
        naming = {"type": "NamesAccepted", "status": "False", "reason": reason, "message": message}
    else:
        naming = {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"}
    established: Object | None = None
    if not is_established(crd):
        if reason:
            established = {"type": "Established", "status": "False", "reason": "NotAccepted", "message": "not all names are accepted"}
        elif problem := bundle_problem(conversion_bundle(crd)):
            established = {"type": "Established", "status": "False", "reason": "InvalidCABundle",
                           "message": f"The conversion webhook CABundle is invalid: {problem}"}
        else:
            established = {"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
                           "message": "the initial names have been accepted"}
    return shown, naming, established


def _set(conditions: list[Object], wanted: Object, now: str) -> None:
    for position, current in enumerate(conditions):
        if current.get("type") == wanted["type"]:
            moved = current.get("status") != wanted["status"]
            if moved or current.get("reason") != wanted["reason"] or current.get("message") != wanted["message"]:
                conditions[position] = {"lastTransitionTime": now if moved else current.get("lastTransitionTime"), **wanted}
            return
    conditions.append({"lastTransitionTime": now, **wanted})
