"""The parameters a binding gives its policy (`paramRef`)."""
from __future__ import annotations

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.apiserver.admission.match import namespace_of
from kubepy.apiserver.admission.policy.definition import Binding, Policy
from kubepy.apiserver.request import Attributes
from kubepy.apiserver.services import Services

NONE_FOUND = "no params found for policy binding with `Deny` parameterNotFoundAction"


class BadParams(Exception):
    """Parameters that are not there or cannot be named; the message is upstream's."""


async def params_for(services: Services, attributes: Attributes, policy: Policy, binding: Binding) -> list[Object | None]:
    """Each is judged by on its own; [None] for a policy without. Empty: the binding does not apply. Raises BadParams."""
    kind, reference = policy.spec.get("paramKind"), binding.spec.get("paramRef")
    if kind is None or reference is None:
        return [None]
    group, _, version = str(kind.get("apiVersion", "")).rpartition("/")
    found = services.kinds.by_kind.get((group, version, kind.get("kind", ""))) if services.kinds is not None else None
    if found is None:
        raise BadParams(f"failed to find resource referenced by paramKind: '{group}/{version}, Kind={kind.get('kind', '')}'")
    namespace = ""
    if found.resource.namespaced:
        namespace = reference.get("namespace") or namespace_of(attributes)
        if not namespace:
            raise BadParams("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    elif reference.get("namespace"):
        raise BadParams("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    store = services.store(found.resource)
    params: list[Object | None] = []
    try:
        if reference.get("name"):
            entry = store.cached(namespace, reference["name"]) or await store.get(namespace, reference["name"])
            params = [entry.decode()]
        elif reference.get("selector") is not None:
            wanted = from_object(reference["selector"])
            page = await store.list(namespace or None, resource_version="0", match=lambda entry: wanted.matches(entry.labels))
            params = [entry.decode() for entry in page.entries]
    except NotFound:
        params = []
    except ApiError as error:
        raise BadParams(error.message) from error
    if not params and reference.get("parameterNotFoundAction") != "Allow":
        raise BadParams(NONE_FOUND)
    return params
