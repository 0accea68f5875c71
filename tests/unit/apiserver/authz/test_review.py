"""What reviews say of selectors that cannot be read, and whom tokens without audiences are good for."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.apiserver.authn.token import StaticTokens
from kubepy.apiserver.authz.review import unread

BAD = "due to parse error"


@pytest.mark.parametrize(("attributes", "expected"), [
    pytest.param({"labelSelector": {"rawSelector": "a=b"}, "fieldSelector": {"rawSelector": "x=y"}}, [], id="both can be read"),
    pytest.param({"fieldSelector": {"requirements": [{"key": "a", "operator": "Exists"}]}},
                 [f"spec.resourceAttributes.fieldSelector ignored {BAD}"], id="fields are there always"),
    pytest.param({"fieldSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["x", "y"]},
                                                     {"key": "a", "operator": "In", "values": ["x"]}]}},
                 [f"spec.resourceAttributes.fieldSelector partially ignored {BAD}"], id="two values of a field"),
    pytest.param({"fieldSelector": {"rawSelector": "a==="}}, [f"spec.resourceAttributes.fieldSelector ignored {BAD}"],
                 id="a raw field selector"),
    pytest.param({"labelSelector": {"requirements": [{"key": "a b", "operator": "Exists"}]}},
                 [f"spec.resourceAttributes.labelSelector ignored {BAD}"], id="no label's key"),
])
def test_unread_selectors_are_told(attributes: dict[str, Any], expected: list[str]) -> None:
    assert unread({"resourceAttributes": attributes}) == expected


@pytest.mark.parametrize(("asked", "good"), [
    pytest.param(("api",), ["api"], id="the server's own"), pytest.param(("vault", "api"), ["api"], id="among others"),
    pytest.param(("vault",), None, id="somebody else's"),
])
async def test_static_tokens_are_the_servers_own(asked: tuple[str, ...], good: list[str] | None) -> None:
    found = await StaticTokens("secret,ann,1", ("api",)).check("secret", asked)
    assert (found and list(found.audiences)) == good
