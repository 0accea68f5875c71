"""The audit policy, what becomes of bodies, and the log file."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from kubepy.apiserver.audit.log import LogFile
from kubepy.apiserver.audit.policy import parse as parse_policy
from kubepy.apiserver.info import parse
from kubepy.apiserver.request import User
from kubepy.base.clock import SystemClock

POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "None", "users": ["system:kube-proxy"], "verbs": ["watch"], "resources": [{"group": "", "resources": ["endpoints"]}]},
    {"level": "None", "nonResourceURLs": ["/healthz*", "/version"]},
    {"level": "Metadata", "resources": [{"group": "", "resources": ["configmaps"], "resourceNames": ["secretive"]}]},
    {"level": "Request", "namespaces": ["kube-system"], "resources": [{"group": "", "resources": ["pods/*"]}]},
    {"level": "RequestResponse", "userGroups": ["devs"], "omitStages": ["ResponseStarted"]},
]}


@pytest.mark.parametrize(("user", "groups", "method", "path", "level"), [
    pytest.param("system:kube-proxy", [], "GET", "/api/v1/watch/endpoints", "None", id="by user, verb and resource"),
    pytest.param("bob", [], "GET", "/healthz/etcd", "None", id="a path by its beginning"),
    pytest.param("bob", [], "GET", "/api/v1/namespaces/a/configmaps/secretive", "Metadata", id="a named object"),
    pytest.param("bob", [], "GET", "/api/v1/namespaces/a/configmaps/plain", "None", id="no rule matches"),
    pytest.param("bob", [], "GET", "/api/v1/namespaces/kube-system/pods/a/log", "Request", id="a subresource in a namespace"),
    pytest.param("bob", ["devs"], "PUT", "/api/v1/namespaces/a/configmaps/plain", "RequestResponse", id="by group"),
    pytest.param("bob", ["devs"], "PUT", "/api/v1/namespaces/a/secrets/s", "Metadata", id="bodies of secrets are never recorded"),
    pytest.param("bob", ["devs"], "POST", "/api/v1/namespaces/a/serviceaccounts/s/token", "Metadata", id="nor tokens"),
])
def test_the_first_matching_rule_gives_the_level(user: str, groups: list[str], method: str, path: str, level: str) -> None:
    assert parse_policy(POLICY).evaluate(User(user, "", tuple(groups)), parse(method, path, {})).level == level


def test_stages_left_out_add_up() -> None:
    wanted = parse_policy(POLICY).evaluate(User("bob", "", ("devs",)), parse("GET", "/api/v1/pods", {}))
    assert wanted.omitted == {"RequestReceived", "ResponseStarted"}


@pytest.mark.parametrize("policy", [
    pytest.param({}, id="nothing"),
    pytest.param({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": []}, id="no rules"),
    pytest.param({**POLICY, "rules": [{"level": "All"}]}, id="a level that is none"),
    pytest.param({**POLICY, "rules": [{"level": "None", "user": ["a"]}]}, id="a misspelt field"),
    pytest.param({**POLICY, "omitStages": ["Never"]}, id="a stage that is none"),
])
def test_a_policy_that_cannot_be_meant_is_refused(policy: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_policy(policy)


def test_the_log_is_rotated_by_size_and_reopened_when_moved(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.log"
    log = LogFile(str(path), SystemClock(), max_megabytes=1, max_backups=1)
    big = {"text": "x" * 400_000}
    for number in range(9):
        log.write(orjson.dumps({**big, "number": number}) + b"\n")
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert len(list(path.parent.iterdir())) == 2
    path.rename(path.with_name("elsewhere"))
    log.write(b'{"last":true}\n')
    assert orjson.loads(path.read_bytes()) == {"last": True}
    log.close()
