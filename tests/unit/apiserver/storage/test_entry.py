from __future__ import annotations

import orjson
import pytest

from kubepy.api.types import Object
from kubepy.apiserver.storage.entry import Codec, Undecodable, join, same

CODEC = Codec({"spec.nodeName": lambda pod: str(pod["spec"].get("nodeName", ""))})


def pod(**metadata: object) -> Object:
    return {"spec": {"nodeName": "n1"}, "metadata": {"name": "a", "namespace": "d", **metadata}, "kind": "Pod", "apiVersion": "v1"}


@pytest.mark.parametrize("bare", [False, True], ids=["with apiVersion and kind", "bare"])
def test_joined_entries_are_what_json_says(bare: bool) -> None:
    objects = pod(labels={"metadata": '"metadata":{'}, resourceVersion="1"), pod()
    entries = [CODEC.entry(CODEC.encode(obj), revision) for revision, obj in enumerate(objects, 7)]
    wanted = [orjson.loads(entry.json()) for entry in entries]
    if bare:
        wanted = [{key: value for key, value in obj.items() if key not in ("apiVersion", "kind")} for obj in wanted]
    assert orjson.loads(b"[" + join(entries, bare=bare) + b"]") == wanted
    assert [entry.decode()["metadata"]["resourceVersion"] for entry in entries] == ["7", "8"]


def test_nothing_joined_is_nothing() -> None:
    assert join([], bare=True) == b""


def test_empty_metadata_is_spliced_without_a_comma() -> None:
    entry = CODEC.entry(CODEC.encode(pod()), 7)
    entry.raw = b'{"apiVersion":"v1","kind":"Pod","metadata":{}}'
    assert entry.json() == b'{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7"}}'
    assert join([entry]) == entry.json()


def test_selectors_are_extracted_and_shared() -> None:
    one, other = (CODEC.entry(CODEC.encode(pod(labels={"a": "b"})), revision) for revision in (1, 2))
    assert one.fields == {"metadata.name": "a", "metadata.namespace": "d", "spec.nodeName": "n1"}
    assert one.labels is other.labels


def test_a_frame_is_encoded_once() -> None:
    from kubepy.apiserver.storage.entry import Event

    event = Event("ADDED", 7, CODEC.entry(CODEC.encode(pod()), 7))
    assert event.frame("ADDED") is event.frame("ADDED")
    assert orjson.loads(event.frame("MODIFIED"))["type"] == "MODIFIED"


@pytest.mark.parametrize("stored", [b"", b"k8s\x00protobuf", b"[]", b'{"metadata":3}', b'{"kind":"Pod","apiVersion":"v1","spec":{}}'],
                         ids=["nothing", "protobuf", "a list", "metadata is a number", "no metadata"])
def test_what_is_no_object_is_undecodable(stored: bytes) -> None:
    with pytest.raises(Undecodable):
        CODEC.entry(stored, 1)


@pytest.mark.parametrize(("one", "other", "equal"), [
    (b'{"a":1,"b":2}', b'{"b":2,"a":1}', True),
    (b'{"a":1,"b":2}', b'{"a":2,"b":1}', False),
    (b'{"a":1}', b'{"a":10}', False),
], ids=["another order of keys is the same", "other values of equal length are not", "other lengths are not"])
def test_stored_forms_compare_by_meaning(one: bytes, other: bytes, equal: bool) -> None:
    assert same(one, other) is equal
