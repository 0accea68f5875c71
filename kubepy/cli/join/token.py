"""Bootstrap tokens, `ID.SECRET`, as the Secrets of kube-system that authenticate and sign with them."""
from __future__ import annotations

import base64
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass

from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.controllers.bootstrap import expires_at, value

TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
GROUP = "system:bootstrappers:kubeadm:default-node-token"
USAGES = ("signing", "authentication")
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]", re.ASCII)
_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Token:
    id: str
    secret: str

    def __str__(self) -> str:
        return f"{self.id}.{self.secret}"

    def __repr__(self) -> str:
        return f"Token({self.id})"

    @property
    def secret_name(self) -> str:
        return f"bootstrap-token-{self.id}"


def parse(text: str) -> Token:
    """Raises ValueError."""
    found = _TOKEN.fullmatch(text)
    if not found:
        raise ValueError(f'the bootstrap token {text[:6]!r}… is not of the form "[a-z0-9]{{6}}.[a-z0-9]{{16}}"')
    return Token(found[1], found[2])


def generate() -> Token:
    def word(length: int) -> str:
        return "".join(secrets.choice(_ALPHABET) for _ in range(length))
    return Token(word(6), word(16))


def manifest(token: Token, *, expires: float | None, description: str = "", usages: Sequence[str] = USAGES,
             groups: Sequence[str] = (GROUP,)) -> Object:
    """The Secret; `expires` is in epoch seconds, None for never. Raises ValueError for unknown usages or groups."""
    if unknown := set(usages) - set(USAGES):
        raise ValueError(f"unknown usage {', '.join(sorted(unknown))}: there are {', '.join(USAGES)}")
    if wrong := [group for group in groups if not _GROUP.fullmatch(group)]:
        raise ValueError(f"bootstrap group {wrong[0]!r} must match system:bootstrappers:[a-z0-9:-]{{0,255}}[a-z0-9]")
    values = {"token-id": token.id, "token-secret": token.secret, **{f"usage-bootstrap-{usage}": "true" for usage in usages}}
    if groups and "authentication" in usages:
        values["auth-extra-groups"] = ",".join(groups)
    if expires is not None:
        values["expiration"] = format_time(expires)
    if description:
        values["description"] = description
    return {"apiVersion": "v1", "kind": "Secret", "type": TYPE, "metadata": {"name": token.secret_name, "namespace": NAMESPACE},
            "data": {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}}


def row(secret: Object, now: float) -> tuple[str, ...]:
    """Token, time left, expiry, usages, description and groups, as `kubeadm token list` shows them."""
    ends = expires_at(secret)
    left, when = "<forever>", "<never>"
    if ends is not None:
        left, when = _left(ends - now), value(secret, "expiration")
    usages = ",".join(sorted(usage for usage in USAGES if value(secret, f"usage-bootstrap-{usage}") == "true"))
    return (f"{value(secret, 'token-id')}.{value(secret, 'token-secret')}", left, when, usages or "<none>",
            value(secret, "description") or "<none>", value(secret, "auth-extra-groups") or "<none>")


def _left(seconds: float) -> str:
    if seconds <= 0:
        return "<invalid>"
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size or (size == 3600 and seconds >= size):
            return f"{seconds // size:.0f}{letter}"
    return f"{seconds:.0f}s"
