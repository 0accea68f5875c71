"""Bootstrap tokens (`pkg/controller/bootstrap`): cluster-info is signed with each, and expired ones go. Off unless asked for, as upstream.

A joining node, which knows a token and no CA, checks by the signature that cluster-info comes from someone who knows it too.
"""
from __future__ import annotations

import base64
import re

from joserfc import jws
from joserfc.jwk import OctKey

from kubepy.api.errors import NotFound
from kubepy.api.resource import CONFIGMAPS, SECRETS
from kubepy.api.types import Object
from kubepy.base.clock import parse_time
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.kit.environment import Environment

log = get_logger("bootstrap")

NAMESPACE, PUBLIC, NAME = "kube-system", "kube-public", "cluster-info"
SELECTOR = "type=bootstrap.kubernetes.io/token"
SIGNATURE = "jws-kubeconfig-"
_ID, _SECRET = re.compile(r"^[a-z0-9]{6}$"), re.compile(r"^[a-z0-9]{16}$")


def value(secret: Object, name: str) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get(name) or "").decode()
    except ValueError:
        return ""


def expires_at(secret: Object) -> float | None:
    """Epoch seconds; None for a token that does not expire, 0 for a time that cannot be read."""
    text = value(secret, "expiration")
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        return 0.0


def signing_token(secret: Object, now: float) -> tuple[str, str] | None:
    """(id, secret) of a token that may sign; None otherwise."""
    token, key = value(secret, "token-id"), value(secret, "token-secret")
    if secret["metadata"]["name"] != f"bootstrap-token-{token}" or not _ID.match(token) or not _SECRET.match(key):
        return None
    moment = expires_at(secret)
    if value(secret, "usage-bootstrap-signing") != "true" or (moment is not None and moment <= now):
        return None
    return token, key


def signature(token: str, key: str, content: str) -> str:
    """A detached JWS (HS256) of the content."""
    header, _, tail = jws.serialize_compact({"alg": "HS256", "kid": token}, content.encode(), OctKey.import_key(key)).partition(".")
    return f"{header}..{tail.partition('.')[2]}"


def signed(configmap: Object, tokens: dict[str, str]) -> dict[str, str]:
    """The ConfigMap's data with a signature for each token and no other."""
    data = {key: text for key, text in (configmap.get("data") or {}).items() if not key.startswith(SIGNATURE)}
    content = data.get("kubeconfig")
    if content:
        data |= {f"{SIGNATURE}{token}": signature(token, key, content) for token, key in tokens.items()}
    return data


def signer(env: Environment) -> Controller:
    client = env.client_for("bootstrap-signer")
    secrets = env.informers.informer(SECRETS, NAMESPACE, field_selector=SELECTOR).lister
    configmaps = env.informers.informer(CONFIGMAPS, PUBLIC, field_selector=f"metadata.name={NAME}").lister

    async def reconcile(key: str) -> float | None:
        configmap = configmaps.get(NAME, PUBLIC)
        if configmap is None:
            return None
        now = env.clock.now()
        tokens = dict(found for secret in secrets.list() if (found := signing_token(secret, now)) is not None)
        data = signed(configmap, tokens)
        if data != (configmap.get("data") or {}):
            await client.update(CONFIGMAPS, {**configmap, "data": data})
        ends = [moment - now for secret in secrets.list() if (moment := expires_at(secret)) is not None and moment > now]
        return min(ends) + 0.1 if ends else None

    def one(obj: Object) -> tuple[str, ...]:
        return (f"{PUBLIC}/{NAME}",)

    watches = (Watch(SECRETS, keys=one, namespace=NAMESPACE, field_selector=SELECTOR),
               Watch(CONFIGMAPS, keys=one, namespace=PUBLIC, field_selector=f"metadata.name={NAME}"))
    return Controller("bootstrap_signer_queue", reconcile, watches)


def cleaner(env: Environment) -> Controller:
    client = env.client_for("token-cleaner")
    secrets = env.informers.informer(SECRETS, NAMESPACE, field_selector=SELECTOR).lister

    async def reconcile(key: str) -> float | None:
        namespace, name = split_key(key)
        secret = secrets.get(name, namespace)
        moment = expires_at(secret) if secret is not None else None
        if secret is None or moment is None:
            return None
        if (wait := moment - env.clock.now()) > 0:
            return wait
        try:
            await client.delete(SECRETS, name, namespace, uid=secret["metadata"]["uid"])
            log.info("Expired bootstrap token removed", secret=name)
        except NotFound:
            return None
        return None

    return Controller("token_cleaner", reconcile, (Watch(SECRETS, namespace=NAMESPACE, field_selector=SELECTOR),))
