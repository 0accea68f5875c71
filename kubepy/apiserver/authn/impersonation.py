"""Impersonation headers: acting as another user (`endpoints/filters/impersonation`).

Two ways are tried. Constrained impersonation (KEP-5284) needs two rights: to impersonate that identity, and to do the request while
impersonating; the mode follows from the identity (a node, a service account, anyone else). Otherwise the classic `impersonate` verb on
every part of the identity is enough. A refusal is worded by the last constrained mode that applied.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from kubepy.api.errors import BadRequest, Forbidden
from kubepy.apiserver.authn.interface import Scope
from kubepy.apiserver.authn.service_account import groups_of, split_user
from kubepy.apiserver.authz.interface import Access, Authorizer
from kubepy.apiserver.authz.message import forbidden, quote
from kubepy.apiserver.request import RequestInfo, User
from kubepy.base.log import get_logger

log = get_logger("impersonation")

_AUTHENTICATION = "authentication.k8s.io"
_NODE_PREFIX = "system:node:"
_NODE_EXTRA = "authentication.kubernetes.io/node-name"
_EXTRA_HEADER = b"impersonate-extra-"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the headers ask for."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def only_name(self) -> bool:
        return not (self.uid or self.groups or self.extra)


class Impersonation:
    """Decides who a request acts as."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def impersonate(self, scope: Scope, user: User, info: RequestInfo) -> User:
        wanted = read_headers(scope["headers"])
        if wanted is None:
            return user
        refusal: Forbidden | None = None
        for mode in constrained_modes(user, wanted):
            refusal = await self._constrained(user, wanted, info, mode)
            if refusal is None:
                return self._accept(user, impersonated(wanted, node=mode.endswith("-node")))
        classic = await self._classic(user, wanted)
        if classic is not None:
            raise refusal or classic
        return self._accept(user, impersonated(wanted))

    def _accept(self, user: User, other: User) -> User:
        log.v(4).info("Impersonating", user=user.name, as_user=other.name)
        return other

    async def _constrained(self, user: User, wanted: Wanted, info: RequestInfo, mode: str) -> Forbidden | None:
        request = replace(Access.of(user, info), verb=f"impersonate-on:{mode}:{info.verb}")
        if refusal := await self._refused(request):
            return refusal
        verb = f"impersonate:{mode}"
        if mode == "associated-node":
            return await self._refused(Access(user, verb, _AUTHENTICATION, "v1", "nodes", name="*"))
        if mode == "arbitrary-node":
            return await self._refused(Access(user, verb, _AUTHENTICATION, "v1", "nodes", name=wanted.name.removeprefix(_NODE_PREFIX)))
        if mode == "serviceaccount":
            namespace, name = split_user(wanted.name) or ("", "")
            return await self._refused(Access(user, verb, _AUTHENTICATION, "v1", "serviceaccounts", namespace=namespace, name=name))
        checks = [Access(user, verb, _AUTHENTICATION, "v1", "users", name=wanted.name)]
        if wanted.uid:
            checks.append(Access(user, verb, _AUTHENTICATION, "v1", "uids", name=wanted.uid))
        for group in wanted.groups:
            access = Access(user, verb, _AUTHENTICATION, "v1", "groups", name=group)
            if group == "system:masters":
                return forbidden(access, "impersonating the system:masters group is not allowed")
            checks.append(access)
        checks += [Access(user, verb, _AUTHENTICATION, "v1", "userextras", key, name=value)
                   for key, values in wanted.extra for value in values]
        return await self._first_refused(checks)

    async def _classic(self, user: User, wanted: Wanted) -> Forbidden | None:
        account = split_user(wanted.name)
        if account is not None:
            checks = [Access(user, "impersonate", "", "v1", "serviceaccounts", namespace=account[0], name=account[1])]
        else:
            checks = [Access(user, "impersonate", "", "v1", "users", name=wanted.name)]
        checks += [Access(user, "impersonate", "", "v1", "groups", name=group) for group in wanted.groups]
        checks += [Access(user, "impersonate", _AUTHENTICATION, "v1", "userextras", key, name=value)
                   for key, values in wanted.extra for value in values]
        if wanted.uid:
            checks.append(Access(user, "impersonate", _AUTHENTICATION, "v1", "uids", name=wanted.uid))
        return await self._first_refused(checks)

    async def _first_refused(self, checks: Sequence[Access]) -> Forbidden | None:
        for access in checks:
            if refusal := await self._refused(access):
                return refusal
        return None

    async def _refused(self, access: Access) -> Forbidden | None:
        decision = await self._authorizer.authorize(access)
        return None if decision.allowed else forbidden(access, decision.reason)


def constrained_modes(user: User, wanted: Wanted) -> list[str]:
    """The constrained modes that an identity may be impersonated under, in the order they are tried."""
    if wanted.name.startswith(_NODE_PREFIX):
        if not wanted.only_name:
            return []
        name = wanted.name.removeprefix(_NODE_PREFIX)
        own = split_user(user.name) is not None and list(user.extra.get(_NODE_EXTRA, ())) == [name]
        return ["associated-node", "arbitrary-node"] if own else ["arbitrary-node"]
    if split_user(wanted.name) is not None:
        return ["serviceaccount"] if wanted.only_name else []
    return ["user-info"]


def impersonated(wanted: Wanted, *, node: bool = False) -> User:
    """The identity with the groups that come with it."""
    groups = wanted.groups
    account = split_user(wanted.name)
    if node:
        groups = ("system:nodes",)
    elif account is not None and not groups:
        groups = groups_of(account[0])
    if wanted.name == "system:anonymous":
        if "system:unauthenticated" not in groups:
            groups = (*groups, "system:unauthenticated")
    elif "system:authenticated" not in groups and "system:unauthenticated" not in groups:
        groups = (*groups, "system:authenticated")
    return User(wanted.name, wanted.uid, groups, {key: list(values) for key, values in wanted.extra})


def read_headers(headers: Sequence[tuple[bytes, bytes]]) -> Wanted | None:
    """What the impersonation headers ask for; None without any. Raises BadRequest when they name no user."""
    name = uid = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    for header, value in headers:
        if not header.startswith(b"impersonate-"):
            continue
        text = value.decode("utf-8", "replace")
        if header == b"impersonate-user":
            name = name or text
        elif header == b"impersonate-uid":
            uid = uid or text
        elif header == b"impersonate-group":
            groups.append(text)
        elif header.startswith(_EXTRA_HEADER):
            extra.setdefault(unquote(header[len(_EXTRA_HEADER):].decode("latin-1")), []).append(text)
    if not name:
        if uid or groups or extra:
            raise BadRequest(f"requested {_go_user(uid, groups, extra)} without impersonating a user name")
        return None
    return Wanted(name, uid, tuple(groups), tuple((key, tuple(values)) for key, values in sorted(extra.items())))


def _go_user(uid: str, groups: Sequence[str], extra: dict[str, list[str]]) -> str:
    """The Go text of a user.DefaultInfo, which upstream's message holds."""
    pairs = ", ".join(f"{quote(key)}:{_go_strings(values)}" for key, values in sorted(extra.items()))
    shown = f"map[string][]string{{{pairs}}}" if extra else "map[string][]string(nil)"
    return f'&user.DefaultInfo{{Name:"", UID:{quote(uid)}, Groups:{_go_strings(groups)}, Extra:{shown}}}'


def _go_strings(values: Sequence[str]) -> str:
    return f"[]string{{{', '.join(map(quote, values))}}}" if values else "[]string(nil)"
