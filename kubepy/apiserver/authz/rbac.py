"""The RBAC authorizer (`plugin/pkg/auth/authorizer/rbac`), fed from the stores' watch caches, so a decision never waits.

A change takes effect when the watch delivers it: milliseconds after the write, in every process.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.authz.index import RbacIndex, decode
from kubepy.apiserver.authz.interface import Access, Decision
from kubepy.apiserver.request import User
from kubepy.apiserver.storage.feed import Feed
from kubepy.apiserver.storage.interface import Entry, Event, ResourceStore
from kubepy.base.task import Tasks

_NO_OPINION = Decision("no opinion")


class Rbac:
    """Answers from an index of all roles and bindings."""

    def __init__(self, index: RbacIndex | None = None) -> None:
        self.index = index or RbacIndex()
        self._feeds: list[Feed] = []

    def start(self, stores: Mapping[Resource, ResourceStore], tasks: Tasks) -> None:
        """Follows the four stores for ever."""
        index = self.index
        for resource, put, keep in ((CLUSTER_ROLES, index.set_role, index.keep_only_roles), (ROLES, index.set_role, index.keep_only_roles),
                                    (CLUSTER_ROLE_BINDINGS, index.set_binding, index.keep_only_bindings),
                                    (ROLE_BINDINGS, index.set_binding, index.keep_only_bindings)):
            feed = _feed(stores[resource], not resource.namespaced, put, keep)
            self._feeds.append(feed)
            tasks.keep(feed.run, f"rbac/{resource.plural}", maximum=5.0)

    async def ready(self) -> None:
        for feed in self._feeds:
            await feed.ready.wait()

    async def authorize(self, access: Access) -> Decision:
        return self.decide(access)

    def decide(self, access: Access) -> Decision:
        errors: list[str] = []
        if access.is_resource:
            for table in self.index.tables(access.user, access.namespace):
                if reason := table.resource(access.verb, access.group, access.resource, access.subresource, access.name):
                    return Decision("allow", reason)
                errors += table.errors
        else:
            for table in self.index.tables(access.user, ""):
                if reason := table.path(access.verb, access.path):
                    return Decision("allow", reason)
                errors += table.errors
        return Decision("no opinion", f"RBAC: {join_errors(errors)}") if errors else _NO_OPINION

    def rules_for(self, user: User, namespace: str) -> tuple[list[Object], list[str]]:
        """All rules a user has in a namespace, and what could not be resolved."""
        rules: list[Object] = []
        errors: list[str] = []
        for table in self.index.tables(user, namespace):
            rules += table.rules
            errors += table.errors
        return rules, errors


def join_errors(errors: Sequence[str]) -> str:
    """Distinct errors as upstream's aggregate prints them."""
    distinct = list(dict.fromkeys(errors))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"


def _feed(store: ResourceStore, cluster: bool, put: Callable[[str, str, Object | None], None],
          keep: Callable[[bool, set[tuple[str, str]]], None]) -> Feed:
    def replace(entries: Sequence[Entry]) -> None:
        keep(cluster, {(entry.namespace, entry.name) for entry in entries})
        for entry in entries:
            put(entry.namespace, entry.name, decode(entry.raw))

    def apply(event: Event) -> None:
        entry = event.entry
        put(entry.namespace, entry.name, None if event.type == "DELETED" else decode(entry.raw))

    return Feed(store, replace, apply)
