"""The checks of /livez and /readyz by the names that monitoring knows."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kubepy.apiserver.health import Health
from kubepy.base.clock import VirtualClock

HOOKS = ("rbac/bootstrap-roles", "start-apiextensions-controllers", "apiservice-registration-controller", "one-of-ours")


def health(pending: set[str]) -> Health:
    server: Any = SimpleNamespace(hooks=HOOKS, pending=pending, clock=VirtualClock(), options=SimpleNamespace(livez_grace_period=0.0))
    return Health(server)


@pytest.mark.parametrize(("pending", "name", "good"), [
    pytest.param(set(), "poststarthook/crd-informer-synced", True, id="a state that another hook stands for"),
    pytest.param({"start-apiextensions-controllers"}, "poststarthook/crd-informer-synced", False, id="which has not finished yet"),
    pytest.param({"apiservice-registration-controller"}, "autoregister-completion", False, id="one that is no hook upstream either"),
    pytest.param(set(HOOKS), "poststarthook/generic-apiserver-start-informers", True, id="there since requests are served"),
    pytest.param({"one-of-ours"}, "poststarthook/one-of-ours", False, id="a hook upstream does not have"),
])
async def test_checks_are_asked_for_by_upstreams_names(pending: set[str], name: str, good: bool) -> None:
    status, _ = await health(pending).one("livez", name)
    assert status == (200 if good else 500)


def test_a_part_that_is_not_served_has_no_checks() -> None:
    checker = health(set())
    assert "poststarthook/start-kubernetes-service-cidr-controller" not in checker.checks("healthz")
    checker.server.hooks = HOOKS[:2]
    assert "autoregister-completion" not in checker.checks("healthz")
