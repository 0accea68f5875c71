from __future__ import annotations

import base64

import pytest

from kubepy.api.errors import ApiError
from kubepy.apiserver.storage.page import Freshness, ListOptions, decode_token, encode_token, parse_options


@pytest.mark.parametrize(("version", "match", "limit", "wanted"), [
    (None, None, 0, ListOptions(Freshness.CONSISTENT)),
    ("", "", 5, ListOptions(Freshness.CONSISTENT, limit=5)),
    ("0", "", 5, ListOptions(Freshness.ANY)),
    ("0", "NotOlderThan", 0, ListOptions(Freshness.ANY)),
    ("7", "", 0, ListOptions(Freshness.NOT_OLDER, 7)),
    ("7", "", 5, ListOptions(Freshness.EXACT, 7, limit=5)),
    ("7", "NotOlderThan", 5, ListOptions(Freshness.NOT_OLDER, 7, limit=5)),
    ("7", "Exact", 0, ListOptions(Freshness.EXACT, 7)),
], ids=["unset", "unset with a limit", "zero ignores the limit", "not older than zero", "a version", "a version with a limit is exact",
        "not older with a limit", "exact"])
def test_what_a_list_asks_for(version: str | None, match: str | None, limit: int, wanted: ListOptions) -> None:
    assert parse_options(version, match, limit, "") == wanted


@pytest.mark.parametrize(("version", "match", "token", "code", "message"), [
    ("0", "Exact", "", 422, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'),
    ("", "Exact", "", 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
    ("1", "Roughly", "", 422, 'Unsupported value: "Roughly": supported values: "Exact", "NotOlderThan", ""'),
    ("1", "Exact", "abc", 422, "resourceVersionMatch is forbidden when continue is provided"),
    ("abc", "", "", 400, 'invalid resource version: resourceVersion: Invalid value: "abc": '
     'strconv.ParseUint: parsing "abc": invalid syntax'),
    ("99999999999999999999", "", "", 400, "value out of range"),
    ("-1", "", "", 400, "invalid syntax"),
    ("1", "", encode_token("a\x00", 5), 400, "specifying resource version is not allowed when using continue"),
    ("", "", "abc", 400, "invalid continue token: continue key is not valid: "),
    ("", "", "/+", 400, "invalid continue token: continue key is not valid: "),
    ("", "", "é", 400, "invalid continue token: continue key is not valid: "),
    ("", "", encode_token("a", 0), 400, "incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
    ("", "", encode_token("", 5), 400, "encoded start key empty (version meta.k8s.io/v1)"),
    ("", "", encode_token("../../secrets/a", 5), 400, "continue key is not valid: ../../secrets/a"),
    ("", "", base64.urlsafe_b64encode(b'{"v":"v2","rv":1,"start":"a"}').decode().rstrip("="), 400,
     'server does not recognize this encoded version "v2"'),
], ids=["exactly zero", "a match without a version", "an unknown match", "a match with continue", "not a number", "too large", "negative",
        "a version with continue", "no JSON", "no base64", "not ASCII", "no revision", "no start",
        "a path that climbs", "another token version"])
def test_what_a_list_must_not_ask_for(version: str, match: str, token: str, code: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_options(version, match, 0, token)
    assert caught.value.code == code
    assert message in caught.value.message


def test_tokens_are_upstreams() -> None:
    token = encode_token("default/a\x00", 42)
    assert base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)) == b'{"v":"meta.k8s.io/v1","rv":42,"start":"default/a\\u0000"}'
    assert decode_token(token) == ("default/a\x00", 42)
    assert parse_options("", "", 3, encode_token("a\x00", -1)) == ListOptions(Freshness.CONSISTENT, 0, "a\x00", 3, True)
