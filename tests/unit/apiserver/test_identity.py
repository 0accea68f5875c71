"""The leases of API servers: whose they are, when they are renewed, which are removed."""
from __future__ import annotations

import pytest

from kubepy.apiserver import identity
from kubepy.base.clock import format_micro_time

NOW = 1_800_000_000.0


def lease(age: float, component: str = "kube-apiserver", **spec: object) -> dict:
    return {"metadata": {"name": f"{component}-{age}", "labels": {identity.LABEL: component}},
            "spec": {"leaseDurationSeconds": 3600, "renewTime": format_micro_time(NOW - age), "holderIdentity": "old", **spec}}


def test_a_name_is_of_the_host() -> None:
    name = identity.lease_name("n1")
    assert name.startswith("apiserver-")
    assert len(name) == 36
    assert name == identity.lease_name("n1") != identity.lease_name("n2")


@pytest.mark.parametrize(("age", "holder"), [
    pytest.param(60, "new", id="taken over"), pytest.param(1, "old", id="renewed by another just now")])
def test_renewal(age: float, holder: str) -> None:
    assert identity.renewed(lease(age), "new", NOW)["spec"]["holderIdentity"] == holder


def test_only_those_of_silent_api_servers_are_removed() -> None:
    leases = [lease(10), lease(3700), lease(3700, "other"), lease(20, renewTime=None)]
    assert identity.expired(leases, NOW) == ["kube-apiserver-3700", "kube-apiserver-20"]
