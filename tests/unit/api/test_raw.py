"""Members that count byte by byte."""
from __future__ import annotations

import pytest

from kubepy.api.codec import stored, with_raw


@pytest.mark.parametrize(("text", "kept", "compact"), [
    pytest.param(b'{"data": {"b": 1, "a": "<x>"}}', b'{"b": 1, "a": "\\u003cx\\u003e"}', False, id="with spaces, in its own order"),
    pytest.param(b'{"data":{"b":1,"a":2}}', b'{"b":1,"a":2}', True, id="compact"),
])
def test_bytes_are_kept_and_stored(text, kept, compact):
    found = with_raw({"metadata": {"name": "r"}, "data": {"b": 1, "a": "<x>"}}, "data", text)
    assert (found["data"].raw, found["data"].compact) == (kept, compact)
    assert b'"data":' + kept in stored(found)
    assert found["data"] == {"b": 1, "a": "<x>"}


def test_what_is_no_object_stays():
    assert with_raw({"data": None}, "data", b'{"data":null}') == {"data": None}
