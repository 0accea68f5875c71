"""Service accounts for credential provider plugins: who the pod runs as, and a token for the plugin's audience (`tokenAttributes`)."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubepy.api.errors import ApiError
from kubepy.api.resource import SERVICE_ACCOUNTS
from kubepy.api.types import Object
from kubepy.client.interface import Client
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.settings import SettingsError
from kubepy.kubelet.volume.token import Tokens

_CACHES = ("ServiceAccount", "Token")


class AccountError(Exception):
    """The plugin is not asked for this pod."""


@dataclass(frozen=True, slots=True)
class TokenAttributes:
    audience: str
    cache: str
    """ServiceAccount: what the plugin answers is for all pods of the account; Token: for one token."""
    required: bool
    """Pods without an account are not served; else without a token."""
    required_keys: tuple[str, ...] = ()
    optional_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    namespace: str
    name: str
    uid: str
    annotations: tuple[tuple[str, str], ...]
    token: str

    @property
    def account(self) -> str:
        """As records of pulled images name it."""
        return f"serviceaccount/{self.namespace}/{self.name}/{self.uid}"


def read_attributes(entry: Mapping[str, Any], where: str, api_version: str) -> TokenAttributes | None:
    """A provider's `tokenAttributes`. Raises SettingsError."""
    found = entry.get("tokenAttributes")
    if found is None:
        return None
    where = f"{where}.tokenAttributes"
    if not api_version.endswith("/v1"):
        raise SettingsError(f"{where}: Forbidden: tokenAttributes is only supported for credentialprovider.kubelet.k8s.io/v1 API version")
    if not found.get("serviceAccountTokenAudience"):
        raise SettingsError(f"{where}.serviceAccountTokenAudience: Required value: serviceAccountTokenAudience is required")
    if not found.get("cacheType"):
        raise SettingsError(f"{where}.cacheType: Required value: cacheType is required to be set when tokenAttributes is specified. "
                            f"Supported values are: {', '.join(_CACHES)}")
    if found["cacheType"] not in _CACHES:
        raise SettingsError(f'{where}.cacheType: Unsupported value: "{found["cacheType"]}": supported values: '
                            + ", ".join(f'"{name}"' for name in _CACHES))
    if found.get("requireServiceAccount") is None:
        raise SettingsError(f"{where}.requireServiceAccount: Required value: requireServiceAccount is required")
    required, optional = (tuple(found.get(key) or ()) for key in ("requiredServiceAccountAnnotationKeys",
                                                                  "optionalServiceAccountAnnotationKeys"))
    if required and not found["requireServiceAccount"]:
        raise SettingsError(f"{where}.requiredServiceAccountAnnotationKeys: Forbidden: requireServiceAccount cannot be false when "
                            "requiredServiceAccountAnnotationKeys is set")
    if both := sorted(set(required) & set(optional)):
        raise SettingsError(f"{where}: Invalid value: {both}: annotation keys cannot be both required and optional")
    return TokenAttributes(str(found["serviceAccountTokenAudience"]), found["cacheType"], bool(found["requireServiceAccount"]), required,
                           optional)


class Accounts:
    def __init__(self, client: Client, tokens: Tokens) -> None:
        self._client = client
        self._tokens = tokens

    async def identify(self, pod: Object, attributes: TokenAttributes) -> Identity | None:
        """None for a pod without an account where that is allowed. Raises AccountError."""
        name = pod["spec"].get("serviceAccountName") or ""
        namespace = pod["metadata"].get("namespace") or "default"
        if not name or podspec.is_static(pod):
            if attributes.required:
                raise AccountError("the pod has no service account")
            return None
        try:
            account = (await self._client.get(SERVICE_ACCOUNTS, name, namespace))["metadata"]
            annotations = account.get("annotations") or {}
            if missing := [key for key in attributes.required_keys if key not in annotations]:
                raise AccountError(f"required annotation {missing[0]} not found in service account {namespace}/{name}")
            wanted = tuple((key, annotations[key]) for key in sorted({*attributes.required_keys, *attributes.optional_keys})
                           if key in annotations)
            token = await self._tokens.get(pod, {"audience": attributes.audience})
        except (ApiError, ConnectionError) as error:
            raise AccountError(f"no token for service account {namespace}/{name}: {error}") from error
        return Identity(namespace, name, account["uid"], wanted, token)
