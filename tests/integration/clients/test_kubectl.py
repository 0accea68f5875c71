"""kubectl of the machine against a real server: one object of every built-in kind through the flows people use.

`manifests.yaml` holds the objects. Each step treats them all in one call, in the order of the file.
"""
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from kubepy.apiserver.registry.table import KINDS
from tests.apiserver import ApiServer
from tests.etcd import Etcd

MANIFESTS = Path(__file__).with_name("manifests.yaml")
OBJECTS = list(yaml.safe_load_all(MANIFESTS.read_text()))
NAMESPACE = "flows"
REWRITTEN = {"endpoints", "secret", "statefulset", "poddisruptionbudget", "mutatingwebhookconfiguration", "validatingwebhookconfiguration",
             "validatingadmissionpolicy", "mutatingadmissionpolicy", "endpointslice", "resourceclaim", "resourceclaimtemplate"}
"""What a second client-side apply sends again: lists without keys that the server filled in, and what is write-only."""

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed"),
              pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer("--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection") as running:
        kubectl(running, "create", "namespace", NAMESPACE)
        yield running


def kubectl(server: ApiServer, *words: str, editor: str = "false", timeout: float = 300) -> list[str]:
    """The lines kubectl wrote; raises with what it complained of."""
    home = server.directory / "home"
    home.mkdir(exist_ok=True)
    done = subprocess.run(["kubectl", "--kubeconfig", server.kubeconfig, "-n", NAMESPACE, *words], capture_output=True, text=True,
                          timeout=timeout, check=False, env={**os.environ, "KUBE_EDITOR": editor, "HOME": str(home)})
    assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr[-2000:]}"
    return done.stdout.splitlines()


def of_all(server: ApiServer, *words: str, editor: str = "false") -> list[tuple[str, str]]:
    """What a step over all objects says of each: its name as kubectl writes it, and the outcome."""
    lines = kubectl(server, *words, "-f", str(MANIFESTS), editor=editor)
    said = [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line]
    assert len(said) == len(OBJECTS)
    return said


def test_the_manifests_hold_every_stored_kind() -> None:
    stored = {(kind.resource.api_version, kind.resource.kind) for kind in KINDS if "create" in kind.verbs and "update" in kind.verbs}
    assert {(obj["apiVersion"], obj["kind"]) for obj in OBJECTS} == stored


def test_every_kind_is_explained(server: ApiServer) -> None:
    def explain(resource: tuple[str, str]) -> list[str]:
        return kubectl(server, "explain", "--api-version", resource[0], resource[1])

    known = sorted((kind.resource.api_version, kind.resource.plural) for kind in KINDS)
    with ThreadPoolExecutor(3) as pool:
        for (_, plural), lines in zip(known, pool.map(explain, known), strict=True):
            text = "\n".join(lines)
            assert "KIND:" in text, plural
            assert "DESCRIPTION:" in text, plural
    assert any("terminationGracePeriodSeconds" in line for line in kubectl(server, "explain", "--recursive", "pods"))


def test_apply_and_diff(server: ApiServer) -> None:
    assert {outcome for _, outcome in of_all(server, "apply")} == {"created"}
    again = of_all(server, "apply")
    assert {name.split("/")[0].split(".")[0] for name, outcome in again if outcome != "unchanged"} <= REWRITTEN
    assert kubectl(server, "diff", "-f", str(MANIFESTS)) == []
    assert {outcome for _, outcome in of_all(server, "apply", "--server-side", "--force-conflicts")} == {"serverside-applied"}
    assert len(kubectl(server, "get", "-o", "name", "-f", str(MANIFESTS))) == len(OBJECTS)


@pytest.fixture
def applied(server: ApiServer) -> None:
    """All objects are there: those of the test above, or made anew for a repeated attempt."""
    if len(kubectl(server, "get", "-o", "name", "--ignore-not-found", "-f", str(MANIFESTS))) < len(OBJECTS):
        of_all(server, "apply", "--server-side")


@pytest.mark.parametrize(("kind", "patch"), [
    pytest.param("merge", '{"metadata":{"labels":{"step":"merge"}}}', id="merge"),
    pytest.param("strategic", '{"metadata":{"labels":{"step":"strategic"}}}', id="strategic merge"),
    pytest.param("json", '[{"op":"add","path":"/metadata/labels","value":{"step":"json"}}]', id="JSON"),
])
def test_patch(server: ApiServer, applied: None, kind: str, patch: str) -> None:
    assert {outcome for _, outcome in of_all(server, "patch", "--type", kind, "-p", patch)} == {"patched"}


def test_edit_and_wait(server: ApiServer, applied: None) -> None:
    of_all(server, "patch", "--type=merge", "-p", '{"metadata":{"labels":{"step":"json"}}}')
    editor = server.directory / "editor"
    editor.write_text('#!/bin/sh\nexec sed -i "s/step: json/step: edited/" "$1"\n')
    editor.chmod(0o700)
    assert {outcome for _, outcome in of_all(server, "edit", editor=str(editor))} == {"edited"}
    waited = of_all(server, "wait", "--for=jsonpath={.metadata.labels.step}=edited", "--timeout=120s")
    assert {outcome for _, outcome in waited} == {"condition met"}


def test_replace(server: ApiServer, applied: None) -> None:
    assert {outcome for _, outcome in of_all(server, "replace")} == {"replaced"}


def test_delete(server: ApiServer, applied: None) -> None:
    said = kubectl(server, "delete", "-f", str(MANIFESTS), "--wait=false")
    assert len(said) == len(OBJECTS)
    left = kubectl(server, "get", "-o", "name", "--ignore-not-found", "-f", str(MANIFESTS))
    # without controllers nobody ends a namespace or cleans up after a definition
    assert set(left) <= {"namespace/each", "customresourcedefinition.apiextensions.k8s.io/eaches.example.com"}
