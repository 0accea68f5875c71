"""Secrets of type kubernetes.io/service-account-token: filled for the account they name, removed with it.

As upstream, this runs as the controller manager itself, whatever identities the others have.
"""
from __future__ import annotations

import base64

from kubepy.api.errors import NotFound
from kubepy.api.resource import SECRETS, SERVICE_ACCOUNTS
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.token.sign import Signer

log = get_logger("serviceaccount_tokens")

TYPE = "kubernetes.io/service-account-token"
SELECTOR = f"type={TYPE}"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"


def notes(secret: Object) -> dict[str, str]:
    return secret["metadata"].get("annotations") or {}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def belongs(secret: Object, account: Object | None) -> bool:
    """The account is there and is the one that the secret was made for."""
    return account is not None and notes(secret).get(UID, account["metadata"]["uid"]) in ("", account["metadata"]["uid"])


def filled(secret: Object, account: Object, signer: Signer, root_ca: str) -> Object | None:
    """The secret with all that it should hold; None when it holds it. A token that is there stays."""
    data: dict[str, str] = dict(secret.get("data") or {})
    if root_ca:
        data["ca.crt"] = _encoded(root_ca)
    data["namespace"] = _encoded(secret["metadata"]["namespace"])
    if not data.get("token"):
        data["token"] = _encoded(signer.token(account, secret))
    annotations = {**notes(secret), NAME: account["metadata"]["name"], UID: account["metadata"]["uid"]}
    if data == (secret.get("data") or {}) and annotations == notes(secret):
        return None
    return {**secret, "metadata": {**secret["metadata"], "annotations": annotations}, "data": data}


def controller(env: Environment) -> Controller | None:
    """Without a key there is nothing to sign with."""
    if not env.options.service_account_private_key:
        return None
    client, signer = env.informers.client, Signer(env.options.service_account_private_key)
    secrets = env.informers.informer(SECRETS, field_selector=SELECTOR).lister
    accounts = env.informers.informer(SERVICE_ACCOUNTS).lister

    async def reconcile(key: str) -> float | None:
        namespace, name = split_key(key)
        secret = secrets.get(name, namespace)
        if secret is None or secret["metadata"].get("deletionTimestamp") is not None or not notes(secret).get(NAME):
            return None
        account = accounts.get(notes(secret)[NAME], namespace)
        if not belongs(secret, account) or not notes(secret).get(UID):
            try:  # the cache may be behind: on its word alone no token is taken away, and none given to an account that has been replaced
                account = await client.get(SERVICE_ACCOUNTS, notes(secret)[NAME], namespace)
            except NotFound:
                account = None
        if account is None or not belongs(secret, account):
            try:
                await client.delete(SECRETS, name, namespace, uid=secret["metadata"]["uid"])
                log.info("Token of a service account that is gone removed", secret=key)
            except NotFound:
                return None
            return None
        wanted = filled(secret, account, signer, env.options.root_ca)
        if wanted is not None:
            await client.update(SECRETS, wanted)
        return None

    def of_account(account: Object) -> list[str]:
        metadata = account["metadata"]
        return [f"{metadata['namespace']}/{secret['metadata']['name']}" for secret in secrets.list(metadata["namespace"])
                if notes(secret).get(NAME) == metadata["name"]]

    return Controller("serviceaccount_tokens", reconcile, (
        Watch(SECRETS, field_selector=SELECTOR),
        Watch(SERVICE_ACCOUNTS, keys=of_account, when=lambda old, new: old is None or new is None),
    ), workers=env.options.concurrency("serviceaccount-token", 5))
