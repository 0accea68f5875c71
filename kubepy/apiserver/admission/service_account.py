"""ServiceAccount: gives pods a service account, its pull secrets, and a token volume (`plugin/pkg/admission/serviceaccount`)."""
from __future__ import annotations

import secrets
from collections.abc import Iterator

from kubepy.api.errors import NotFound
from kubepy.api.resource import PODS, SERVICE_ACCOUNTS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.request import Attributes, Operation

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_MIRROR = "kubernetes.io/config.mirror"
_ENFORCE = "kubernetes.io/enforce-mountable-secrets"
_PREFIX = "kube-api-access-"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_WAIT_ATTEMPTS = 10
_WAIT_SECONDS = 0.1


class ServiceAccount(Plugin):
    name = "ServiceAccount"
    mutates = True
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        if not same(resource, PODS):
            return False
        return (operation == "CREATE" and subresource == "") or (operation == "UPDATE" and subresource == "ephemeralcontainers")

    async def admit(self, attributes: Attributes) -> None:
        pod = attributes.obj
        if pod is None or attributes.operation != "CREATE":
            return
        spec = pod.setdefault("spec", {})
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            self._check_mirror(attributes, spec)
            return
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = "default"
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = await self._account(attributes, spec["serviceAccountName"])
        if _wants_token(account, spec):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [{"name": item.get("name", "")} for item in account["imagePullSecrets"]]

    async def admit_valid(self, attributes: Attributes) -> None:
        pod = attributes.obj
        if pod is None:
            return
        spec = pod["spec"]
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            self._check_mirror(attributes, spec)
            return
        if not spec.get("serviceAccountName"):
            raise refuse(attributes, f'no service account specified for pod {attributes.namespace}/{pod["metadata"].get("name", "")}')
        account = await self._account(attributes, spec["serviceAccountName"])
        if (account["metadata"].get("annotations") or {}).get(_ENFORCE, "").lower() == "true":
            self._check_mountable(attributes, account, spec)

    async def _account(self, attributes: Attributes, name: str) -> Object:
        """The account; the default one of a new namespace is waited for, as a controller makes it."""
        store = self.services.store(SERVICE_ACCOUNTS)
        for attempt in range(_WAIT_ATTEMPTS):
            entry = store.cached(attributes.namespace, name)
            if entry is not None:
                return entry.decode()
            try:
                return (await store.get(attributes.namespace, name)).decode()
            except NotFound:
                if name != "default" or attempt == _WAIT_ATTEMPTS - 1:
                    break
            await self.services.clock.sleep(_WAIT_SECONDS)
        raise refuse(attributes, f'error looking up service account {attributes.namespace}/{name}: serviceaccount "{name}" not found')

    def _check_mirror(self, attributes: Attributes, spec: Object) -> None:
        if spec.get("serviceAccountName"):
            raise refuse(attributes, "a mirror pod may not reference service accounts")
        if next(_secret_refs(spec), None) is not None:
            raise refuse(attributes, "a mirror pod may not reference secrets")
        for volume in spec.get("volumes") or ():
            if any("serviceAccountToken" in source for source in (volume.get("projected") or {}).get("sources") or ()):
                raise refuse(attributes, "a mirror pod may not use ServiceAccountToken volume projections")

    def _check_mountable(self, attributes: Attributes, account: Object, spec: Object) -> None:
        allowed = {item.get("name") for item in account.get("secrets") or ()}
        name = account["metadata"]["name"]
        for where, secret in _secret_refs(spec):
            if secret not in allowed:
                raise refuse(attributes, f'{where} with secret.secretName="{secret}" is not allowed because service account {name} '
                                         "does not reference that secret")
        pullable = {item.get("name") for item in account.get("imagePullSecrets") or ()}
        for position, item in enumerate(spec.get("imagePullSecrets") or ()):
            if item.get("name") not in pullable:
                raise refuse(attributes, f'imagePullSecrets[{position}].name="{item.get("name")}" is not allowed because service account '
                                         f"{name} does not reference that imagePullSecret")


def _wants_token(account: Object, spec: Object) -> bool:
    for owner in (spec, account):
        if owner.get("automountServiceAccountToken") is not None:
            return bool(owner["automountServiceAccountToken"])
    return True


def _mount_token(spec: Object) -> None:
    """Adds the token volume and mounts it in every container that has nothing there."""
    volumes = list(spec.get("volumes") or ())
    taken = {volume.get("name") for volume in volumes}
    name = next((str(item) for item in taken if item and str(item).startswith(_PREFIX)), "")
    used = False
    if not name:
        name = _PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(5))
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            mounts = container.get("volumeMounts") or []
            if not any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
                used = True
    if used and name not in taken:
        spec["volumes"] = [*volumes, {"name": name, "projected": {"sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}],
            "defaultMode": 420}}]


def _secret_refs(spec: Object) -> Iterator[tuple[str, str]]:
    for volume in spec.get("volumes") or ():
        if secret := (volume.get("secret") or {}).get("secretName"):
            yield f'volume "{volume.get("name")}"', secret
    for field, title in (("initContainers", "init container"), ("containers", "container"), ("ephemeralContainers", "ephemeral container")):
        for container in spec.get(field) or ():
            for variable in container.get("env") or ():
                if secret := ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name"):
                    yield f'{title} {container.get("name")} with envVar {variable.get("name")}', secret
            for source in container.get("envFrom") or ():
                if secret := (source.get("secretRef") or {}).get("name"):
                    yield f'{title} {container.get("name")} with envFrom', secret
