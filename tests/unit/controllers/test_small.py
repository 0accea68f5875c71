"""Small controllers' plans: aggregated roles, Jobs whose time is over, attributes classes in use."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

from kubepy.api.resource import JOBS, PERSISTENT_VOLUME_CLAIMS
from kubepy.api.types import Object
from kubepy.base.clock import format_time, parse_time
from kubepy.controllers import clusterrole, protection
from kubepy.controllers.job import ttl


def role(name: str, *resources: str, part: str = "", selects: tuple[str, ...] = ()) -> Object:
    rules = [{"apiGroups": [""], "resources": [item], "verbs": ["get"]} for item in resources]
    return {"metadata": {"name": name, "labels": {"part": part}}, "rules": rules, "aggregationRule": {
        "clusterRoleSelectors": [{"matchLabels": {"part": item}} for item in selects]}}


@pytest.mark.parametrize(("roles", "wanted"), [
    pytest.param([role("b", "two", part="x"), role("a", "one", part="x")], ["one", "two"], id="by name"),
    pytest.param([role("a", "one", part="y"), role("b", "two", part="x")], ["two", "one"], id="selector by selector"),
    pytest.param([role("a", "one", part="x"), role("b", "one", "two", part="x")], ["one", "two"], id="each rule once"),
    pytest.param([role("a", "one", part="z")], [], id="none that is not selected"),
    pytest.param([role("sum", "own", part="x")], [], id="never its own"),
])
def test_aggregated_rules(roles: list[Object], wanted: list[str]) -> None:
    rules = clusterrole.aggregate(role("sum", selects=("x", "y")), roles)
    assert [rule["resources"][0] for rule in rules] == wanted


ENDED = "2026-01-01T00:00:00Z"


def ended(kind: str = "Complete", after: int | None = 60, **metadata: Any) -> Object:
    return {"metadata": {"name": "j", "namespace": "default", **metadata}, "spec": {"ttlSecondsAfterFinished": after},
            "status": {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": ENDED}] if kind else []}}


@pytest.mark.parametrize(("job", "seconds"), [
    pytest.param(ended(), 60, id="a complete one"),
    pytest.param(ended("Failed"), 60, id="a failed one"),
    pytest.param(ended(after=0), 0, id="at once"),
    pytest.param(ended(after=None), None, id="never"),
    pytest.param(ended(""), None, id="not while it runs"),
    pytest.param(ended("FailureTarget"), None, id="not while its pods end"),
    pytest.param(ended(deletionTimestamp=ENDED), None, id="not when it goes already"),
])
def test_a_job_is_over(job: Object, seconds: int | None) -> None:
    assert ttl.expires_at(job) == (None if seconds is None else parse_time(ENDED) + seconds)


async def test_an_ended_job_goes_when_its_time_is_over_and_not_before() -> None:
    async with Rig(ttl.controller) as rig:
        body = ended()
        body["status"]["conditions"][0]["lastTransitionTime"] = format_time(rig.clock.now())
        rig.client.load(JOBS, body)
        await rig.settle(50)
        await rig.client.patch(JOBS, "j", {"spec": {"ttlSecondsAfterFinished": 100}}, "default")  # just in time
        await rig.settle(30)
        assert len(rig.client.all(JOBS)) == 1
        await rig.settle(30)
        assert [action.verb for action in rig.client.actions] == ["patch", "delete"]


@pytest.mark.parametrize("claim", [
    pytest.param({"spec": {"volumeAttributesClassName": "gold"}}, id="a claim asks for it"),
    pytest.param({"spec": {}, "status": {"currentVolumeAttributesClassName": "gold"}}, id="a claim has it"),
    pytest.param({"spec": {}, "status": {"modifyVolumeStatus": {"targetVolumeAttributesClassName": "gold"}}}, id="a claim changes to it"),
])
async def test_an_attributes_class_stays_while(claim: Object) -> None:
    async with Rig(protection.classes) as rig:
        await rig.client.create(protection.ATTRIBUTES_CLASSES, {"metadata": {"name": "gold"}, "driverName": "d"})
        rig.client.load(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "c", "namespace": "default"}, **claim})
        await rig.settle()
        await rig.client.delete(protection.ATTRIBUTES_CLASSES, "gold")
        await rig.settle(5)
        assert rig.client.all(protection.ATTRIBUTES_CLASSES)[0]["metadata"]["finalizers"] == [protection.CLASS_FINALIZER]
        await rig.client.delete(PERSISTENT_VOLUME_CLAIMS, "c", "default")
        await rig.settle(5)
        assert not rig.client.all(protection.ATTRIBUTES_CLASSES)
