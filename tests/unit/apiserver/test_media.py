"""Which representation an Accept header gets."""
from __future__ import annotations

import pytest

from kubepy.api.errors import NotAcceptable
from kubepy.apiserver.media import CUSTOM, Media, is_pretty, negotiate

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(("accept", "expected"), [
    pytest.param("", ("application/json", ""), id="nothing said"),
    pytest.param("*/*", ("application/json", ""), id="anything"),
    pytest.param("application/json;q=0.5, application/yaml;q=0.9", ("application/yaml", ""), id="by quality"),
    pytest.param(f"{TABLE},application/json", ("application/json", "Table"), id="a table first"),
    pytest.param("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", ("application/json", ""), id="plain as the second"),
    pytest.param("application/vnd.kubernetes.protobuf,application/json", ("application/vnd.kubernetes.protobuf", ""), id="a Go client"),
    pytest.param("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json", ("application/json", ""),
                 id="tables have no protobuf form"),
])
def test_what_is_acceptable(accept: str, expected: tuple[str, str]) -> None:
    chosen: Media = negotiate(accept)
    assert (chosen.type, chosen.transform) == expected


def test_custom_resources_have_no_protobuf_form_but_their_metadata_has() -> None:
    binary = "application/vnd.kubernetes.protobuf"
    assert negotiate(f"{binary},application/json", CUSTOM).type == "application/json"
    assert negotiate(f"{binary};as=PartialObjectMetadata;v=v1;g=meta.k8s.io", CUSTOM).type == binary


@pytest.mark.parametrize(("accept", "message"), [
    pytest.param("text/html", "406: Not Acceptable", id="a type that is not served"),
    pytest.param("application/*", "406: Not Acceptable", id="a partial wildcard"),
    pytest.param("application/json;as=Picture;v=v1;g=meta.k8s.io", "only the following media types", id="an unknown transformation"),
])
def test_what_is_not(accept: str, message: str) -> None:
    with pytest.raises(NotAcceptable, match=message):
        negotiate(accept)


@pytest.mark.parametrize(("query", "agent", "expected"), [
    pytest.param("", "curl/8", True, id="curl"), pytest.param("0", "curl/8", False, id="curl that does not want it"),
    pytest.param("true", "kubectl", True, id="asked for"), pytest.param("certainly", "kubectl", False, id="no boolean"),
])
def test_indentation(query: str, agent: str, expected: bool) -> None:
    assert is_pretty(query, agent) is expected
