"""What `kubepy explain-scheduling` asks about and shows."""
from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from kubepy.cli.explain import pod_of, show

SPEC = {"containers": [{"name": "c", "image": "i"}]}


@pytest.mark.parametrize(("manifest", "labels"), [
    pytest.param({"kind": "Pod", "metadata": {"name": "w", "labels": {"a": "b"}}, "spec": SPEC}, {"a": "b"}, id="a pod"),
    pytest.param({"kind": "Deployment", "metadata": {"name": "w"},
                  "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": SPEC}}}, {"a": "b"}, id="a workload's template"),
    pytest.param({"kind": "Job", "metadata": {"name": "w"}, "spec": {"template": {"spec": SPEC}}}, {}, id="a template without labels"),
])
def test_a_manifest_becomes_a_pod(manifest: dict[str, Any], labels: dict[str, str]) -> None:
    pod = pod_of(manifest, "shop")
    assert pod["spec"] == SPEC
    assert pod["metadata"] == {"name": "w", "namespace": "shop", "labels": labels}


@pytest.mark.parametrize("manifest", [None, [], {"kind": "Service", "spec": {}}, {"kind": "Pod"}], ids=repr)
def test_what_has_no_pod_is_refused(manifest: Any) -> None:
    with pytest.raises(ValueError, match=r"manifest|template"):
        pod_of(manifest, "shop")


def test_the_table_names_the_refusing_filter_and_each_score() -> None:
    answer = {"pod": "default/w", "profile": "default-scheduler", "gates": [], "feasible": 1, "message": "", "nodes": [
        {"name": "n1", "feasible": True, "score": 120.0, "scores": {"NodeAffinity": 20.0, "ImageLocality": 100.0}},
        {"name": "n2", "feasible": False, "plugin": "NodeResourcesFit", "reasons": ["Insufficient cpu"]}]}
    out = io.StringIO()
    show(answer, Console(file=out, width=160))
    lines = out.getvalue().splitlines()
    assert lines[0] == "pod default/w (profile default-scheduler): 1 of 2 nodes fit"
    assert lines[2].split() == ["n1", "yes", "120", "100", "20"]
    assert lines[3].split(maxsplit=2) == ["n2", "no", "NodeResourcesFit: Insufficient cpu"]
