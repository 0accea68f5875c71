"""What the rest of the server sees of authorization."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from kubepy.apiserver.request import RequestInfo, User


@dataclass(frozen=True, slots=True)
class Access:
    """One question (`authorizer.Attributes`): may `user` do `verb` on a resource, or on a path."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    is_resource: bool = True
    field_selector: str = ""
    label_selector: str = ""

    @classmethod
    def of(cls, user: User, info: RequestInfo) -> Access:
        return cls(user, info.verb, info.group, info.version, info.resource, info.subresource, info.namespace, info.name, info.path,
                   info.is_resource, info.field_selector, info.label_selector)


class Decision(NamedTuple):
    """`no opinion` refuses unless another authorizer allows; `deny` refuses at once. `error` says why an authorizer could not decide."""

    verdict: Literal["allow", "deny", "no opinion"]
    reason: str = ""
    error: str = ""

    @property
    def allowed(self) -> bool:
        return self.verdict == "allow"


class Authorizer(Protocol):
    async def authorize(self, access: Access) -> Decision: ...

    async def ready(self) -> None:
        """Waits until what decisions are made from has been read."""
        ...
