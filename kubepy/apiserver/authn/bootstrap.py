"""Bootstrap tokens (`plugin/pkg/auth/authenticator/token/bootstrap`): `ID.SECRET`, kept in secrets of kube-system, for joining nodes."""
from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence

from kubepy.api.errors import NotFound
from kubepy.api.types import Object
from kubepy.apiserver.authn.token import TokenUser, for_own
from kubepy.apiserver.request import User
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.base.clock import Clock, parse_time

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]", re.ASCII)
_TYPE = "bootstrap.kubernetes.io/token"


class BootstrapTokens:
    def __init__(self, secrets: ResourceStore, clock: Clock, audiences: Sequence[str]) -> None:
        self._secrets = secrets
        self._clock = clock
        self._audiences = tuple(audiences)

    async def check(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        identifier, secret = match[1], match[2]
        name = f"bootstrap-token-{identifier}"
        entry = self._secrets.cached("kube-system", name)
        if entry is None:
            try:
                entry = await self._secrets.get("kube-system", name)
            except NotFound:
                return None
        groups = self._groups(entry.decode(), identifier, secret)
        return for_own(User(f"system:bootstrap:{identifier}", "", groups), audiences, self._audiences) if groups else None

    def _groups(self, obj: Object, identifier: str, secret: str) -> tuple[str, ...]:
        """The groups a token stands for; none when it does not hold."""
        if obj.get("type") != _TYPE or obj["metadata"].get("deletionTimestamp"):
            return ()
        data = obj.get("data") or {}
        stored = _text(data, "token-secret")
        if not hmac.compare_digest(stored.encode(), secret.encode()) or _text(data, "token-id") != identifier:
            return ()
        if _text(data, "usage-bootstrap-authentication") != "true" or self._expired(_text(data, "expiration")):
            return ()
        extra = [group for group in _text(data, "auth-extra-groups").split(",") if group]
        if not all(_GROUP.fullmatch(group) for group in extra):
            return ()
        return ("system:bootstrappers", *sorted(set(extra)))

    def _expired(self, text: str) -> bool:
        if not text:
            return False
        try:
            return self._clock.now() > parse_time(text)
        except ValueError:  # what cannot be read counts as expired
            return True


def _text(data: Object, key: str) -> str:
    try:
        return base64.b64decode(data.get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError, TypeError):
        return ""
