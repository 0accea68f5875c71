"""What the repair loop does about Services and reservations that disagree."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.apiserver.service.repair import Plan, plan

OWNER = ("default", "web")


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "default", "name": "web"}, "spec": {"type": "NodePort", "clusterIPs": ["10.96.0.7"],
                                                                         "clusterIP": "10.96.0.7", "ports": [{"nodePort": 30007}], **spec}}


@pytest.mark.parametrize(("services", "addresses", "ports", "suspected", "expected"), [
    pytest.param([service()], {"10.96.0.7": OWNER}, {30007: OWNER}, {}, Plan(), id="all in agreement"),
    pytest.param([service()], {}, {}, {}, Plan(reserve_addresses=[("10.96.0.7", OWNER)], reserve_ports=[(30007, OWNER)]),
                 id="lost reservations are made again"),
    pytest.param([], {"10.96.0.7": OWNER}, {30007: OWNER}, {}, Plan(suspected={"10.96.0.7": 1, 30007: 1}), id="a leak is first suspected"),
    pytest.param([], {"10.96.0.7": OWNER}, {30007: OWNER}, {"10.96.0.7": 2, 30007: 2},
                 Plan(release_addresses=["10.96.0.7"], release_ports=[30007]), id="in the third round it is given back"),
    pytest.param([service()], {"10.96.0.7": OWNER}, {30007: OWNER}, {"10.96.0.7": 2}, Plan(), id="its service came after all"),
    pytest.param([service()], {"10.96.0.7": ("default", "old")}, {30007: OWNER}, {}, Plan(suspected={"10.96.0.7": 1}),
                 id="a reservation of another owner"),
    pytest.param([service(type="ExternalName", clusterIP="", clusterIPs=[], ports=[])], {}, {}, {}, Plan(),
                 id="a service without addresses"),
])
def test_plan(services: list[dict[str, Any]], addresses: Any, ports: Any, suspected: Any, expected: Plan) -> None:
    assert plan(services, addresses, ports, suspected) == expected
