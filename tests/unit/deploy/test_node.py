"""Kinds of nodes of a local cluster."""
from __future__ import annotations

import pytest

from deploy import node
from deploy.local_cluster import LocalCluster


@pytest.mark.parametrize(("text", "expected"), [
    pytest.param("3", ["namespace"] * 3, id="a number"),
    pytest.param("namespace,vm*2", ["namespace", "vm", "vm"], id="kinds"),
    pytest.param("namespace,ssh:root@192.0.2.1", ["namespace", "ssh:root@192.0.2.1"], id="another host"),
])
def test_kinds(text, expected):
    assert node.kinds(text) == expected


@pytest.mark.parametrize("kinds", [["vm", "vm"], ["namespace", "moon"], ["namespace", "ssh:"], []],
                         ids=["control plane in a virtual machine", "unknown kind", "no host named", "none"])
def test_clusters_that_cannot_be(kinds, tmp_path):
    with pytest.raises(ValueError):
        LocalCluster("x", kinds, tmp_path)


def test_commands_on_another_host_are_quoted_for_its_shell(tmp_path):
    _, remote = LocalCluster("x", ["namespace", "ssh:root@192.0.2.1"], tmp_path).nodes
    assert remote.command("sh", "-c", "echo $HOME") == ["ssh", "-o", "BatchMode=yes", "root@192.0.2.1", "sh -c 'echo $HOME'"]
    assert remote.address == "192.0.2.1"
