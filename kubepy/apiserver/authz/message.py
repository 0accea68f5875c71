"""The words of a refusal, as `k8s.io/apiserver` puts them."""
from __future__ import annotations

import orjson

from kubepy.api.errors import Forbidden
from kubepy.api.types import Object
from kubepy.apiserver.authz.interface import Access


def forbidden(access: Access, reason: str = "") -> Forbidden:
    """The 403 for a request that authorization refused."""
    message = refusal(access)
    if reason:
        message = f"{message}: {reason}"
    if not access.is_resource:
        return Forbidden(f"forbidden: {message}", {})
    title = f"{access.resource}.{access.group}" if access.group else access.resource
    if access.name:
        title += f" {quote(access.name)}"
    details: Object = {}
    if access.name:
        details["name"] = access.name
    if access.group:
        details["group"] = access.group
    if access.resource:
        details["kind"] = access.resource
    return Forbidden(f"{title} is forbidden: {message}", details)


def refusal(access: Access) -> str:
    """`User "bob" cannot get resource "pods" in API group "" in the namespace "default"`."""
    if not access.is_resource:
        return f"User {quote(access.user.name)} cannot {access.verb} path {quote(access.path)}"
    resource = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
    where = f"in the namespace {quote(access.namespace)}" if access.namespace else "at the cluster scope"
    return f"User {quote(access.user.name)} cannot {access.verb} resource {quote(resource)} in API group {quote(access.group)} {where}"


def quote(text: str) -> str:
    return orjson.dumps(text).decode()
