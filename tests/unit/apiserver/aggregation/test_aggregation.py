"""The aggregation layer's pure parts."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.apiserver.aggregation import availability
from kubepy.apiserver.aggregation.document import aggregated, merge_swagger, resource_list
from kubepy.apiserver.aggregation.proxy import identity
from kubepy.apiserver.aggregation.table import Remote, Table
from kubepy.apiserver.discovery import merged_versions
from kubepy.apiserver.request import User


def remote(**changes: Any) -> Remote:
    return Remote(**{"name": "v1.x.io", "group": "x.io", "version": "v1", "namespace": "ns", "service": "ext", "port": 443, "bundle": "",
                     "insecure": True, "group_priority": 100, "version_priority": 10, **changes})


SERVICE = {"spec": {"type": "ClusterIP", "ports": [{"port": 443, "name": "tls"}]}}
SLICE = {"ports": [{"name": "tls", "port": 8443}], "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]}


@pytest.mark.parametrize(("service", "slices", "reason"), [
    pytest.param(None, [], "ServiceNotFound", id="no service"),
    pytest.param({"spec": {"ports": [{"port": 80}]}}, [], "ServicePortError", id="another port"),
    pytest.param(SERVICE, [], "EndpointsNotFound", id="no slices"),
    pytest.param(SERVICE, [{**SLICE, "endpoints": []}], "MissingEndpoints", id="no addresses"),
    pytest.param(SERVICE, [{**SLICE, "ports": [{"name": "web", "port": 1}]}], "MissingEndpoints", id="addresses of another port"),
    pytest.param(SERVICE, [{**SLICE, "endpoints": [{"addresses": ["a"], "conditions": {"ready": False}}]}], "MissingEndpoints",
                 id="an unready address"),
    pytest.param(SERVICE, [SLICE], None, id="ready to be probed"),
    pytest.param({"spec": {"type": "ExternalName"}}, [], None, id="another cluster's service is only probed"),
])
def test_what_is_wrong_is_named(service: Any, slices: list[Any], reason: str | None) -> None:
    found = availability.check(remote(), service, slices)
    assert (found and found.reason) == reason


def test_identity_headers_cannot_be_broken_out_of() -> None:
    user = User("eve\r\nX-Remote-Group: system:masters", "u1", ("devs", "system:authenticated"), {"a/b c": ["v"]})
    assert identity(user) == [
        ("X-Remote-User", "eve  X-Remote-Group: system:masters"), ("X-Remote-Uid", "u1"), ("X-Remote-Group", "devs"),
        ("X-Remote-Group", "system:authenticated"), ("X-Remote-Extra-a%2Fb%20c", "v")]


def test_a_table_follows_services_coming_and_going() -> None:
    table = Table()
    spec = {"group": "x.io", "version": "v1", "service": {"namespace": "ns", "name": "ext"}, "versionPriority": 1}
    table.put({"metadata": {"name": "v1.x.io"}, "spec": spec})
    assert ("x.io", "v1") in table.remotes
    before = table.generation
    table.put({"metadata": {"name": "v1.x.io"}, "spec": spec})
    assert table.generation == before
    table.put({"metadata": {"name": "v1.x.io"}, "spec": {**spec, "service": None}})
    assert not table.remotes
    assert "v1.x.io" in table.local


def test_discovery_of_a_remote() -> None:
    found = remote(resources=[{"name": "echoes", "singularName": "echo", "namespaced": True, "kind": "Echo", "verbs": ["list", "get"]},
                              {"name": "echoes/status", "namespaced": True, "kind": "Echo", "verbs": ["get"]}])
    kind = {"group": "x.io", "version": "v1", "kind": "Echo"}
    status = {"subresource": "status", "responseKind": kind, "verbs": ["get"]}
    assert aggregated(found) == [{"resource": "echoes", "responseKind": kind, "scope": "Namespaced", "singularResource": "echo",
                                  "verbs": ["get", "list"], "subresources": [status]}]
    assert resource_list(found)["freshness"] == "Stale"
    assert resource_list(remote()) == {"version": "v1", "freshness": "Stale"}


def test_versions_stand_by_priority() -> None:
    assert merged_versions(["v1"], [remote(version="v3", version_priority=200), remote(version="v2")]) == ["v3", "v1", "v2"]


def test_only_the_paths_of_its_group_are_taken_from_a_remote() -> None:
    swagger = {"paths": {"/apis/x.io/v1/echoes": {"a": 1}, "/api/v1/pods": {"evil": 1}}, "definitions": {"Pod": {"evil": 1}, "Echo": {}}}
    merged = merge_swagger({"paths": {"/api/v1/pods": {}}, "definitions": {"Pod": {}}}, [remote(swagger=swagger)])
    assert merged == {"paths": {"/api/v1/pods": {}, "/apis/x.io/v1/echoes": {"a": 1}}, "definitions": {"Pod": {}, "Echo": {}}}
