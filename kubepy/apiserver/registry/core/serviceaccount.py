"""ServiceAccount: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import SERVICE_ACCOUNTS
from kubepy.apiserver.authn.review import create_token
from kubepy.apiserver.registry.kind import Kind, Strategy, Subresource


class ServiceAccountStrategy(Strategy):
    returns_deleted = True


KIND = Kind(
    SERVICE_ACCOUNTS,
    "serviceaccount",
    ServiceAccountStrategy(),
    short_names=("sa",),
    subresources=(Subresource("token", ("create",), "TokenRequest", "authentication.k8s.io", "v1", create_token),),
)
