"""Windows options of pods."""
from __future__ import annotations

import pytest

from kubepy.api.field import Path
from kubepy.apiserver.registry.core.podspec_windows import host_process, windows_options


@pytest.mark.parametrize(("user", "problem"), [
    ("NT AUTHORITY\\SYSTEM", ""), ("ContainerUser", ""), ("example.com\\a b", ""),
    ("", "cannot be an empty string"), ("a\\b\\c", "more than one backslash"), (".bad?\\u", "NetBios nor the DNS"),
    ("d\\", "User cannot be empty"), ("a@b", "following characters"), ("d\\. .", "only periods or spaces"), ("a\tb", "control characters"),
])
def test_user_names(user: str, problem: str) -> None:
    told = "; ".join(str(error) for error in windows_options({"runAsUserName": user}, Path("w")))
    assert problem in told if problem else not told


def test_host_processes_are_all_or_none_and_on_the_hosts_network() -> None:
    spec = {"securityContext": {}, "containers": [{"securityContext": {"windowsOptions": {"hostProcess": True}}}, {}]}
    assert [error.field for error in host_process(spec, Path("spec"))] == ["spec", "spec.hostNetwork"]
    assert not host_process({"hostNetwork": True, "containers": spec["containers"][:1]}, Path("spec"))
