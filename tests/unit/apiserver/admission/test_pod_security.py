"""The Pod Security Standards: what each level refuses, at which version."""
from __future__ import annotations

import pytest

from kubepy.apiserver.admission.pod_security.policy import LATEST, Policy, checks_of, evaluate, is_stricter, read_labels

GOOD = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"}}


def pod(container=None, **spec):
    return {"containers": [{"name": "c", "securityContext": {**GOOD, **(container or {})}}], **spec}


def violations(spec, level: str, version: str = "latest", **metadata) -> str:
    return ", ".join(map(str, evaluate(Policy(level, version), metadata, spec)))


@pytest.mark.parametrize(("spec", "baseline", "restricted"), [
    pytest.param(pod(), "", "", id="a good pod"),
    pytest.param(pod({"privileged": True}), "privileged (container", "privileged (container", id="privileged"),
    pytest.param(pod(hostNetwork=True, hostIPC=True), "host namespaces (hostNetwork=true, hostIPC=true)", "host namespaces",
                 id="host namespaces"),
    pytest.param(pod(volumes=[{"name": "v", "hostPath": {}}]), 'hostPath volumes (volume "v")', 'uses restricted volume type "hostPath"',
                 id="a host path"),
    pytest.param(pod(volumes=[{"name": "a", "nfs": {}}, {"name": "b", "nfs": {}}]), "",
                 'restricted volume types (volumes "a", "b" use restricted volume type "nfs")', id="volumes of a restricted type"),
    pytest.param(pod({"capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}}), "", "", id="the one capability"),
    pytest.param(pod({"capabilities": {"add": ["CHOWN"], "drop": ["ALL"]}}), "", 'must not include "CHOWN"', id="a default capability"),
    pytest.param(pod({"capabilities": {"add": ["SYS_ADMIN"]}}), 'non-default capabilities (container "c" must not include "SYS_ADMIN"',
                 'capabilities.drop=["ALL"]; container "c" must not include "SYS_ADMIN"', id="a dangerous capability"),
    pytest.param(pod({"runAsUser": 0}), "", 'runAsUser=0 (container "c" must not set runAsUser=0)', id="root by number"),
    pytest.param(pod({"runAsNonRoot": False}, securityContext={"runAsNonRoot": False}), "",
                 'pod and container "c" must not set securityContext.runAsNonRoot=false', id="root by both"),
    pytest.param(pod({"runAsNonRoot": None}), "", 'pod or container "c" must set securityContext.runAsNonRoot=true', id="root by silence"),
    pytest.param(pod({"runAsNonRoot": None}, securityContext={"runAsNonRoot": True}), "", "", id="the pod speaks for its containers"),
    pytest.param(pod({"runAsNonRoot": None}, hostUsers=False), "", "", id="users of its own"),
    pytest.param(pod({"seccompProfile": {"type": "Unconfined"}}), 'seccompProfile (container "c" must not set', "seccompProfile",
                 id="unconfined"),
    pytest.param(pod({"seLinuxOptions": {"type": "evil_t", "role": "r"}}), 'type "evil_t"; role may not be set', "seLinuxOptions",
                 id="SELinux"),
    pytest.param(pod({"procMount": "Unmasked"}), 'procMount to "Unmasked"', "procMount", id="proc"),
    pytest.param(pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}), "", "", id="a safe sysctl"),
    pytest.param(pod(ephemeralContainers=[{"name": "e", "securityContext": {"privileged": True}}]), 'container "e"', 'container "e"',
                 id="ephemeral containers count"),
    pytest.param({"os": {"name": "windows"}, **pod({"capabilities": None, "allowPrivilegeEscalation": None, "seccompProfile": None})}, "",
                 "", id="windows has no such things"),
])
def test_levels(spec, baseline: str, restricted: str) -> None:
    for level, part in (("privileged", ""), ("baseline", baseline), ("restricted", restricted)):
        found = violations(spec, level)
        assert part in found
        assert bool(found) == bool(part)


@pytest.mark.parametrize(("spec", "level", "before", "since"), [
    (pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}), "baseline", "v1.31", "v1.32"),
    (pod({"seLinuxOptions": {"type": "container_engine_t"}}), "baseline", "v1.30", "v1.31"),
], ids=["sysctls were added in 1.32", "an SELinux type in 1.31"])
def test_versions_widen(spec, level: str, before: str, since: str) -> None:
    assert violations(spec, level, before)
    assert not violations(spec, level, since)


def test_versions_tighten() -> None:
    spec = pod({"capabilities": None, "runAsUser": 0})
    assert not violations(spec, "restricted", "v1.21")
    assert "unrestricted capabilities" in violations(spec, "restricted", "v1.22")
    assert "runAsUser=0" in violations(spec, "restricted", "v1.23")
    probe = {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}]}
    assert not violations(probe, "baseline", "v1.33")
    assert "probe or lifecycle host" in violations(probe, "baseline", "v1.34")


def test_each_check_counts_once_at_every_version() -> None:
    for minor in range(LATEST + 1):
        ids = [check.id for check in checks_of("restricted", minor)]
        assert len(ids) == len(set(ids))


def test_labels() -> None:
    prefix = "pod-security.kubernetes.io/"
    policies, errors = read_labels({prefix + "enforce": "baseline", prefix + "enforce-version": "v1.24"})
    assert (str(policies.enforce), str(policies.warn), str(policies.audit)) == ("baseline:v1.24", "baseline:v1.24", "privileged:latest")
    assert errors == []
    policies, errors = read_labels({"pod-security.kubernetes.io/enforce": "sever"})
    assert str(policies.enforce) == "restricted:latest", "what cannot be read is the strictest"
    assert [error.field for error in errors] == ["metadata.labels[pod-security.kubernetes.io/enforce]"]


@pytest.mark.parametrize(("new", "old", "stricter"), [
    (Policy("restricted"), Policy("baseline"), True), (Policy("baseline"), Policy("restricted"), False),
    (Policy("baseline"), Policy("baseline"), False), (Policy("privileged"), Policy("privileged"), False),
    (Policy("baseline"), Policy("baseline", "v1.20"), True),
])
def test_tightening(new: Policy, old: Policy, stricter: bool) -> None:
    assert is_stricter(new, old) is stricter
