"""Equal parts of pods are one object; everything reads as before."""
from __future__ import annotations

import orjson

from kubepy.controllers.kit.share import LIMIT, Sharing


def raw(name: str, mount: str) -> bytes:
    return orjson.dumps({"metadata": {"name": name, "labels": {"app": "web"}, "managedFields": [{}]}, "spec": {
        "tolerations": [{"key": "a"}], "volumes": [{"name": mount, "projected": {"sources": []}}],
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}, "volumeMounts": [{"name": mount}]}]}, "status": {}})


def test_parts_are_shared_and_nothing_else_changes() -> None:
    share = Sharing()
    first, second = share(orjson.loads(raw("a", "x"))), share(orjson.loads(raw("b", "y")))
    assert first["spec"]["tolerations"] is second["spec"]["tolerations"]
    assert first["spec"]["containers"][0]["resources"] is second["spec"]["containers"][0]["resources"]
    expected = orjson.loads(raw("b", "y"))
    del expected["metadata"]["managedFields"]
    assert second == expected


def test_what_is_remembered_is_bounded() -> None:
    share = Sharing()
    for number in range(LIMIT + 10):
        share(orjson.loads(raw("a", str(number))))
    assert len(share._known) <= LIMIT + 10


def test_other_objects_pass() -> None:
    assert Sharing()({"metadata": {"name": "a"}, "data": {}}) == {"metadata": {"name": "a"}, "data": {}}
