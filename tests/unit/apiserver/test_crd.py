"""Custom resources: names, versions, stored objects as versions show them, printer columns."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.jsonpath import parse_path
from kubepy.api.resource import Resource
from kubepy.apiserver.crd.column import columns_of
from kubepy.apiserver.crd.kind import Compiled
from kubepy.apiserver.crd.naming import approval, plan_status
from kubepy.apiserver.crd.scale import scale_of, with_replicas
from kubepy.apiserver.crd.version import preference
from kubepy.apiserver.crd.view import View
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.memory import MemoryKV

THINGS = Resource("example.com", "v1", "things", "Thing", True)


def crd(name: str, kind: str, short: tuple[str, ...] = (), accepted: bool = False) -> dict[str, Any]:
    names = {"plural": name, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List", "shortNames": list(short)}
    made = {"metadata": {"name": f"{name}.example.com"}, "spec": {"group": "example.com", "names": names}}
    return {**made, "status": plan_status(made, [], "then")} if accepted else made


def test_free_names_are_accepted_and_establish_the_definition() -> None:
    status = plan_status(crd("things", "Thing"), [], "now")
    assert [(item["type"], item["status"]) for item in status["conditions"]] == [("NamesAccepted", "True"), ("Established", "True")]
    assert status["acceptedNames"]["kind"] == "Thing"


def test_taken_names_are_told_and_the_others_accepted() -> None:
    status = plan_status(crd("others", "Thing", ("th",)), [crd("things", "Thing", ("th",), accepted=True)], "now")
    naming = status["conditions"][0]
    assert (naming["status"], naming["reason"]) == ("False", "ListKindConflict")
    assert status["acceptedNames"]["plural"] == "others"
    assert not status["acceptedNames"]["kind"]
    assert status["conditions"][1]["reason"] == "NotAccepted"


def test_a_status_that_is_right_stays_as_it_is() -> None:
    made = crd("things", "Thing", accepted=True)
    assert plan_status(made, [made], "later") == made["status"]


@pytest.mark.parametrize(("value", "state"), [("", "missing"), ("yes", "invalid"), ("unapproved, trying", "bypassed"),
                                              ("https://example.com/1", "approved")])
def test_approval_of_protected_groups(value: str, state: str) -> None:
    assert approval({"api-approved.kubernetes.io": value})[0] == state


def test_versions_in_order_of_preference() -> None:
    names = ["foo1", "v1alpha1", "v10beta3", "v2", "v11alpha2", "v1", "v3beta1", "foo10", "v10"]
    assert sorted(names, key=preference) == ["v10", "v2", "v1", "v10beta3", "v3beta1", "v11alpha2", "v1alpha1", "foo1", "foo10"]


@pytest.mark.parametrize(("path", "found"), [
    (".spec.items[*].name", ["a", "b"]), (".spec.items[-1].name", ["b"]), ('.spec.items[?(@.name=="b")].value', [2]),
    (".spec.items[?(@.value>1)].name", ["b"]), (r".metadata.labels.a\.b/c", ["x"]), (".metadata.labels['a.b/c']", ["x"]), (".none.x", []),
    ("..name", ["a", "b"]),
])
def test_paths(path: str, found: list[Any]) -> None:
    obj = {"metadata": {"labels": {"a.b/c": "x"}}, "spec": {"items": [{"name": "a", "value": 1}, {"name": "b", "value": 2}]}}
    assert parse_path(path)(obj) == found


def test_cells_show_what_fits_their_type() -> None:
    columns = columns_of([{"name": name, "type": name, "jsonPath": ".v"} for name in ("string", "integer", "boolean")])
    objects = [{"metadata": {"name": "x"}, "v": value} for value in (5, "text", True, {"a": 1})]
    cells = [[column.cell(obj, 0.0) for column in columns] for obj in objects]
    assert [row[1:] for row in cells] == [["5", 5, None], ["text", None, None], ["true", None, True], ['{"a":1}', None, None]]


def test_scale_at_paths() -> None:
    paths = {"specReplicasPath": ".spec.size.n", "statusReplicasPath": ".status.n"}
    obj = {"metadata": {"name": "x"}, "spec": {"size": {"n": 2, "m": 1}}, "status": {"n": 1}}
    assert scale_of(obj, paths)["spec"] == {"replicas": 2}
    assert with_replicas(obj, paths, 5)["spec"] == {"size": {"n": 5, "m": 1}}
    assert obj["spec"] == {"size": {"n": 2, "m": 1}}


class Doubling:
    """A converter that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def convert(self, objects: Any, api_version: str) -> list[Any]:
        self.asked += 1
        return [{**obj, "apiVersion": api_version, "spec": {"converted": obj["spec"]}} for obj in objects]


async def test_views_show_stored_objects_in_their_version() -> None:
    backend = Backend(MemoryKV())
    store: Any = backend.store(THINGS, custom=True)
    await store.ready()
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}}}}
    versions = {"example.com/v1": Compiled(schema), "example.com/v2": Compiled(schema)}
    obj = {"kind": "Thing", "apiVersion": "example.com/v1", "metadata": {"name": "one", "namespace": "ns", "uid": "u", "generation": 1},
           "spec": {"odd": 1}}
    entry = await store.create("ns", "one", obj)

    own = View(lambda: store, "example.com/v1", "Thing", "example.com/v1", versions, 0, None, {})
    assert (await own.get("ns", "one")).raw == entry.raw

    late = View(lambda: store, "example.com/v1", "Thing", "example.com/v1", versions, entry.revision, None, {})
    assert (await late.get("ns", "one")).decode()["spec"] == {"a": "x"}

    other = View(lambda: store, "example.com/v2", "Thing", "example.com/v1", versions, 0, None, {})
    assert (await other.get("ns", "one")).decode()["apiVersion"] == "example.com/v2"

    converter = Doubling()
    webhook = View(lambda: store, "example.com/v2", "Thing", "example.com/v1", versions, 0, converter, {})
    assert (await webhook.get("ns", "one")).decode()["spec"] == {"converted": {"odd": 1}}
    page = await webhook.list("ns")
    assert page.entries[0].decode()["spec"] == {"converted": {"odd": 1}}
    assert converter.asked == 1
    await backend.close()
