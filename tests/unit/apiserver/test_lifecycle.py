"""What DELETE and updates do to an object's metadata."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.errors import Conflict
from kubepy.api.resource import CONFIGMAPS, PODS
from kubepy.apiserver.registry.batch.job import KIND as JOB
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context, RequestInfo, User
from kubepy.apiserver.verbs.lifecycle import before_create, collection_finalizers, goes_with_update, plan_delete, validate_create

NOW = 1_700_000_000.0
LATER = "2023-11-14T22:13:50Z"


class Graceful(Strategy):
    def grace_period(self, context: Context, obj: Any, options: Any) -> int:
        return int(options.get("gracePeriodSeconds", 30))


PLAIN = Kind(CONFIGMAPS, "configmap", Strategy())
GRACEFUL = Kind(PODS, "pod", Graceful())


def thing(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "t", "uid": "u", "resourceVersion": "7", **metadata}}


def plan(kind: Kind, obj: dict[str, Any], **options: Any) -> Any:
    return plan_delete(Context(User("me"), RequestInfo("/", "delete"), kind), kind, obj, options, NOW)


@pytest.mark.parametrize(("kind", "obj", "options", "action", "grace"), [
    pytest.param(PLAIN, thing(), {}, "remove", None, id="a plain object goes at once"),
    pytest.param(PLAIN, thing(finalizers=["a/b"]), {}, "write", 0, id="finalizers hold it"),
    pytest.param(PLAIN, thing(), {"propagationPolicy": "Foreground"}, "write", 0, id="foreground deletion is a finalizer"),
    pytest.param(GRACEFUL, thing(), {}, "write", 30, id="a grace period marks it"),
    pytest.param(GRACEFUL, thing(), {"gracePeriodSeconds": 0}, "remove", 0, id="no grace removes it"),
    pytest.param(GRACEFUL, thing(deletionTimestamp=LATER, deletionGracePeriodSeconds=30), {}, "keep", None, id="already on its way"),
    pytest.param(GRACEFUL, thing(deletionTimestamp=LATER, deletionGracePeriodSeconds=30), {"gracePeriodSeconds": 5}, "write", 5,
                 id="a grace period may be shortened"),
    pytest.param(GRACEFUL, thing(deletionTimestamp=LATER, deletionGracePeriodSeconds=30), {"gracePeriodSeconds": 60}, "keep", None,
                 id="but not lengthened"),
])
def test_deletion(kind: Kind, obj: dict[str, Any], options: dict[str, Any], action: str, grace: int | None) -> None:
    found = plan(kind, obj, **options)
    assert found.action == action
    if grace is not None:
        assert found.obj["metadata"]["deletionGracePeriodSeconds"] == grace
    assert obj == thing(**{key: value for key, value in obj["metadata"].items() if key not in ("name", "uid", "resourceVersion")})


def test_a_shortened_grace_period_moves_the_time() -> None:
    found = plan(GRACEFUL, thing(deletionTimestamp=LATER, deletionGracePeriodSeconds=30), gracePeriodSeconds=10)
    assert found.obj["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:30Z"


@pytest.mark.parametrize("wanted", [{"uid": "other"}, {"resourceVersion": "8"}], ids=["another uid", "another version"])
def test_preconditions(wanted: dict[str, str]) -> None:
    with pytest.raises(Conflict, match="in the precondition"):
        plan(PLAIN, thing(), preconditions=wanted)


@pytest.mark.parametrize(("existing", "options", "expected"), [
    pytest.param([], {}, [], id="background by default"),
    pytest.param(["a/b"], {"propagationPolicy": "Orphan"}, ["a/b", "orphan"], id="orphaning"),
    pytest.param(["orphan"], {"propagationPolicy": "Background"}, [], id="the option overrules what is there"),
    pytest.param(["foregroundDeletion"], {}, ["foregroundDeletion"], id="what is there stays without an option"),
    pytest.param([], {"orphanDependents": True}, ["orphan"], id="the old option"),
])
def test_collection_finalizers(existing: list[str], options: dict[str, Any], expected: list[str]) -> None:
    assert collection_finalizers(Strategy(), existing, options) == expected


def test_the_last_finalizer_removed_takes_the_object_along() -> None:
    going = thing(deletionTimestamp=LATER, deletionGracePeriodSeconds=0, finalizers=["a/b"])
    assert goes_with_update(thing(), going)
    assert not goes_with_update(thing(finalizers=["a/b"]), going)
    assert not goes_with_update(thing(), thing(finalizers=["a/b"]))


def test_a_generated_name_is_there_before_the_object_is_prepared() -> None:
    job: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "j-", "namespace": "default"}, "spec": {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}
    context = Context(User("me"), RequestInfo("/", "create"), JOB)
    before_create(context, JOB, job, NOW)
    validate_create(context, JOB, job)
    assert job["spec"]["template"]["metadata"]["labels"]["job-name"] == job["metadata"]["name"]
