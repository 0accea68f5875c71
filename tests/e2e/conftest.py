"""One cluster of each kind for the whole end-to-end run: they are what takes the time."""
from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local_cluster import LocalCluster
from tests import images
from tests.e2e.cluster import Cluster

PROGRAMS = ("etcd", "containerd", "runc", "iptables", "conntrack", "kubectl", "nsenter", "ip", "nginx")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    cluster = Cluster()
    cluster.create_network()
    try:
        print(cluster.up())
        cluster.import_images()
        yield cluster
        if request.session.testsfailed:
            print(cluster.logs())
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        cluster.destroy()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker("root")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nodes", default="namespace", metavar="KIND", help="what the joined node of the two-node tests is: namespace "
                     "(default), vm (a small virtual machine), systemd (one with that) or ssh:TARGET (another host)")


@pytest.fixture(scope="session")
def two_nodes(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    """A control plane and a node that has joined it, made as deploy/local-cluster makes them."""
    missing = [program for program in (*PROGRAMS, "ctr", "curl") if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    directory = Path(tempfile.mkdtemp(prefix="kubepy-two-"))  # short: a Unix socket's path ends after 107 bytes
    kind = request.config.getoption("--nodes")
    cluster = LocalCluster(uuid.uuid4().hex[:8], ["namespace", kind], directory / "cluster")
    failed = request.session.testsfailed
    try:
        cluster.create(reach=kind.startswith("ssh:"))
        cluster.up()
        for archive in images.archives().values():
            cluster.import_image(archive)
        yield cluster
        if request.session.testsfailed > failed:
            print(cluster.logs())
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        cluster.down()
        shutil.rmtree(directory, ignore_errors=True)
