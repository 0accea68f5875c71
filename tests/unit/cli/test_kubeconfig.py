"""Merging the admin's access into a kubeconfig, and taking it out again."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.cli.kubeconfig import merge, without

OURS: dict[str, Any] = {
    "clusters": [{"name": "kubepy", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "kubernetes-admin", "user": {"client-certificate-data": "x"}}],
    "contexts": [{"name": "kubernetes-admin@kubepy", "context": {"cluster": "kubepy", "user": "kubernetes-admin"}}],
}
OTHER: dict[str, Any] = {
    "clusters": [{"name": "prod", "cluster": {"server": "https://prod"}}],
    "users": [{"name": "me", "user": {}}],
    "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "me"}}],
    "current-context": "prod",
}


@pytest.mark.parametrize("existing", [
    pytest.param({}, id="no file yet"),
    pytest.param(OTHER, id="another cluster's file"),
    pytest.param(merge(OTHER, OURS), id="a file we merged into before"),
])
def test_our_context_becomes_current_and_others_stay(existing: dict[str, Any]) -> None:
    merged = merge(existing, OURS)
    assert merged["current-context"] == "kubepy"
    assert [item["name"] for item in merged["clusters"]].count("kubepy") == 1
    assert {"name": "kubepy", "context": {"cluster": "kubepy", "user": "kubepy"}} in merged["contexts"]
    others = [item for item in existing.get("contexts", []) if item["name"] != "kubepy"]
    assert all(item in merged["contexts"] for item in others)


def test_taking_out_leaves_the_others_and_a_context_that_exists() -> None:
    rest = without(merge(OTHER, OURS))
    assert rest["current-context"] == "prod"
    assert {section: rest[section] for section in ("clusters", "users", "contexts")} == {
        section: OTHER[section] for section in ("clusters", "users", "contexts")}
