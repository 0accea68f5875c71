"""Splitting stored objects for the rows of a table."""
from __future__ import annotations

import orjson
import pytest

from kubepy.api.codec import stored
from kubepy.apiserver.rows import split

MANAGED = [{"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}]


@pytest.mark.parametrize("metadata", [
    pytest.param({"name": "a"}, id="nothing to leave out"),
    pytest.param({"name": "a", "managedFields": MANAGED}, id="managed fields are left out"),
    pytest.param({"name": "a", "annotations": {"x": ',"managedFields":[]}'}}, id="a text that looks like them is not"),
    pytest.param({"name": "a", "finalizers": ["x/y"], "annotations": {"k": '"metadata":{"name":"b"}'}}, id="nor metadata in a text"),
])
def test_split(metadata: dict[str, object]) -> None:
    obj = {"kind": "Thing", "apiVersion": "v1", "metadata": metadata, "spec": {"metadata": {"name": "inner"}}}
    lean, whole = split(stored(obj))
    assert orjson.loads(whole) == metadata
    assert lean == {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
