"""Aggregated ClusterRoles (`pkg/controller/clusterroleaggregation`): rules are the union of those of the roles selected."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.errors import NotFound
from kubepy.api.hash import canonical
from kubepy.api.resource import CLUSTER_ROLES
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit.environment import Environment


def selectors(role: Object) -> list[Object]:
    return (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []


def aggregate(role: Object, roles: Sequence[Object]) -> list[Object]:
    """The rules in order of selectors and names, each once."""
    rules: list[Object] = []
    seen: set[bytes] = set()
    for selector in selectors(role):
        compiled = from_object(selector)
        chosen = [item for item in roles if item["metadata"]["name"] != role["metadata"]["name"]
                  and compiled.matches(item["metadata"].get("labels"))]
        for item in sorted(chosen, key=lambda item: str(item["metadata"]["name"])):
            for rule in item.get("rules") or ():
                if (key := canonical(rule)) not in seen:
                    seen.add(key)
                    rules.append(rule)
    return rules


def controller(env: Environment) -> Controller:
    client = env.client_for("clusterrole-aggregation-controller")
    roles = env.informers.informer(CLUSTER_ROLES).lister

    async def reconcile(name: str) -> None:
        role = roles.get(name)
        if role is None or not role.get("aggregationRule"):
            return
        rules = aggregate(role, roles.list())
        if canonical(rules) != canonical(role.get("rules") or []):
            try:
                await client.update(CLUSTER_ROLES, {**role, "rules": rules})
            except NotFound:
                return

    def aggregated(changed: Object) -> Sequence[str]:
        return [role["metadata"]["name"] for role in roles.list() if role.get("aggregationRule")]

    return Controller("clusterrole_aggregation", reconcile, (Watch(CLUSTER_ROLES, keys=aggregated, delay=0.05),))
