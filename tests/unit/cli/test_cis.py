"""The benchmark's tables against facts made up for it."""
from __future__ import annotations

from dataclasses import replace

import pytest

from kubepy.apiserver.audit.policy import load
from kubepy.apiserver.info import parse
from kubepy.apiserver.request import User
from kubepy.cli.cis.command import CONTROLS
from kubepy.cli.cis.control import Outcome, judge
from kubepy.cli.cis.facts import Facts, Mode
from kubepy.cli.component import plan_components
from kubepy.cli.hardening import audit_policy
from kubepy.cli.settings import Settings

SETTINGS = Settings(node_name="n", node_ip="10.0.0.1")


def facts(**changes: object) -> Facts:
    commands = {part.name: part.argv for part in plan_components(SETTINGS)}
    return replace(Facts(SETTINGS, commands), **changes)  # type: ignore[arg-type]


def outcome(control: str, given: Facts) -> Outcome:
    return next(found for found in judge(CONTROLS, given) if found.control.id == control)


def test_each_control_is_there_once_and_is_checked_or_explained() -> None:
    assert len({control.id for control in CONTROLS}) == len(CONTROLS)
    assert all((control.check is None) == bool(control.why) for control in CONTROLS)


def test_the_flags_of_a_new_cluster_pass() -> None:
    flags = [found for found in judge(CONTROLS, facts()) if found.control.id.startswith(("1.2.", "1.3.", "2.")) and found.status == "fail"]
    # what is asked of running servers, and of files, is not known here
    assert {found.control.id for found in flags} <= {"1.2.1", "1.2.15", "1.2.28", "1.3.2", "1.3.7", "2.2"}


@pytest.mark.parametrize(("control", "given", "why"), [
    pytest.param("1.2.6", {"commands": {"apiserver": ("--authorization-mode=RBAC,AlwaysAllow",)}}, "holds AlwaysAllow", id="a flag"),
    pytest.param("1.2.17", {"commands": {"apiserver": ("--audit-log-maxage=3",)}}, "less than 30", id="too short an age"),
    pytest.param("1.1.21", {"files": {"pki/ca.key": Mode(0o640, 0)}}, "pki/ca.key is 640", id="a key others may read"),
    pytest.param("1.1.13", {"files": {"admin.kubeconfig": Mode(0o600, 7)}}, "belongs to user 7", id="somebody else's file"),
    pytest.param("4.2.4", {"answers": {"kubelet read-only": 200}}, "answered 200", id="a port that should be closed"),
    pytest.param("1.2.29", {"weak": {"apiserver": "TLS 1.1 X"}}, "speaks TLS 1.1 X", id="an old protocol"),
    pytest.param("5.1.1", {"objects": {"clusterrolebindings": [{"metadata": {"name": "oops"}, "roleRef": {"name": "cluster-admin"}}]}},
                 "oops",
                 id="another administrator"),
    pytest.param("5.2.2", {"objects": {"pods": [{"metadata": {"name": "p", "namespace": "a"}, "spec": {"containers": [
        {"securityContext": {"privileged": True}}]}}]}}, "a/p", id="a privileged pod"),
    pytest.param("1.2.28", {"documents": {"encryption": "resources: [{resources: [secrets], providers: [{identity: {}}]}]"}}, "identity",
                 id="no encryption"),
])
def test_what_fails_says_why(control: str, given: dict[str, object], why: str) -> None:
    found = outcome(control, facts(**given))
    assert (found.status, why in found.why) == ("fail", True), found


@pytest.mark.parametrize(("user", "groups", "method", "path", "level"), [
    ("ann", (), "GET", "/api/v1/namespaces/a/secrets/s", "Metadata"), ("ann", (), "POST", "/api/v1/namespaces/a/secrets", "Metadata"),
    ("ann", (), "POST", "/api/v1/namespaces/a/pods/p/exec", "Metadata"), ("ann", (), "GET", "/api/v1/namespaces/a/pods", "None"),
    ("ann", (), "DELETE", "/api/v1/namespaces/a/pods/p", "Metadata"), ("system:anonymous", ("system:unauthenticated",), "GET",
                                                                     "/api/v1/pods", "Metadata"),
    ("ann", (), "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "RequestResponse"),
    ("system:node:n", ("system:nodes",), "PATCH", "/api/v1/nodes/n/status", "None"), ("ann", (), "GET", "/healthz", "None"),
    ("system:kube-scheduler", (), "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "None"),
    ("system:node:n", ("system:nodes",), "GET", "/api/v1/namespaces/a/secrets/s", "None"),
])
def test_the_audit_policy_records_what_matters(tmp_path, user: str, groups: tuple[str, ...], method: str, path: str, level: str) -> None:
    import yaml

    (tmp_path / "policy").write_text(yaml.safe_dump(audit_policy()))
    assert load(str(tmp_path / "policy")).evaluate(User(user, "", groups), parse(method, path, {})).level == level
