"""How request paths and queries are read."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.apiserver.info import parse, parse_query


@pytest.mark.parametrize(("method", "path", "query", "expected"), [
    pytest.param("GET", "/api/v1/namespaces/a/pods", b"", ("list", "", "v1", "pods", "", "a", ""), id="a list in a namespace"),
    pytest.param("GET", "/api/v1/namespaces/a/pods", b"watch=1", ("watch", "", "v1", "pods", "", "a", ""), id="a watch"),
    pytest.param("GET", "/api/v1/pods", b"watch=false", ("list", "", "v1", "pods", "", "", ""), id="watch=false is a list"),
    pytest.param("GET", "/api/v1/pods", b"fieldSelector=metadata.name%3Dx", ("list", "", "v1", "pods", "", "", "x"),
                 id="a selector of one name names it"),
    pytest.param("PUT", "/apis/apps/v1/namespaces/a/deployments/d/scale", b"", ("update", "apps", "v1", "deployments", "scale", "a", "d"),
                 id="a subresource"),
    pytest.param("DELETE", "/api/v1/namespaces/a/pods", b"", ("deletecollection", "", "v1", "pods", "", "a", ""), id="all deleted"),
    pytest.param("GET", "/api/v1/namespaces/a", b"", ("get", "", "v1", "namespaces", "", "a", "a"), id="a namespace is in itself"),
    pytest.param("PUT", "/api/v1/namespaces/a/finalize", b"", ("update", "", "v1", "namespaces", "finalize", "a", "a"),
                 id="a namespace's subresource"),
    pytest.param("GET", "/api/v1/watch/namespaces/a/pods/p", b"", ("watch", "", "v1", "pods", "", "a", "p"), id="the old watch prefix"),
    pytest.param("GET", "/api/v1/namespaces/a/secrets//", b"", ("list", "", "v1", "secrets", "", "a", ""), id="slashes at the end"),
])
def test_resource_requests(method: str, path: str, query: bytes, expected: tuple[str, ...]) -> None:
    info = parse(method, path, parse_query(query))
    assert info.is_resource
    assert (info.verb, info.group, info.version, info.resource, info.subresource, info.namespace, info.name) == expected


@pytest.mark.parametrize("path", ["/healthz", "/api", "/api/v1", "/apis/apps/v1", "/version", "/"])
def test_other_paths_are_no_resources(path: str) -> None:
    info = parse("GET", path, {})
    assert not info.is_resource
    assert info.verb == "get"


@pytest.mark.parametrize(("query", "expected"), [
    pytest.param(b"a=1&a=2&b", {"a": ["1", "2"], "b": [""]}, id="repeated and bare names"),
    pytest.param(b"l=a+in+(b)&x=%20", {"l": ["a in (b)"], "x": [" "]}, id="spaces both ways"),
    pytest.param(b"a=%zz&b=1", {"b": ["1"]}, id="a broken escape drops its pair"),
    pytest.param(b"limit=1;x=y", {}, id="a semicolon drops its pair"),
])
def test_queries(query: bytes, expected: dict[str, Any]) -> None:
    assert dict(parse_query(query)) == expected
