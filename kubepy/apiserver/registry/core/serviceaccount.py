"""ServiceAccount: an identity for pods (`pkg/registry/core/serviceaccount`)."""
from __future__ import annotations

from kubepy.api.resource import SERVICE_ACCOUNTS
from kubepy.api.types import Object
from kubepy.apiserver.authn.review import create_token
from kubepy.apiserver.registry.columns import AGE, NAME
from kubepy.apiserver.registry.kind import Kind, Strategy, Subresource
from kubepy.apiserver.request import Context


class ServiceAccountStrategy(Strategy):
    returns_deleted = True

    def prepare_create(self, context: Context, obj: Object) -> None:
        _clean(obj)

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        _clean(obj)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        annotation = "kubernetes.io/enforce-mountable-secrets"
        if annotation in ((obj.get("metadata") or {}).get("annotations") or {}):
            return [f"metadata.annotations[{annotation}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted "
                    "secrets"]
        return []


def _clean(obj: Object) -> None:
    """Of the secrets it names, only the names count."""
    if obj.get("secrets"):
        obj["secrets"] = [{"name": secret["name"]} if secret.get("name") else {} for secret in obj["secrets"]]


KIND = Kind(
    SERVICE_ACCOUNTS,
    "serviceaccount",
    ServiceAccountStrategy(),
    columns=(NAME, AGE),
    short_names=("sa",),
    subresources=(Subresource("token", ("create",), "TokenRequest", "authentication.k8s.io", "v1", create_token),),
)
