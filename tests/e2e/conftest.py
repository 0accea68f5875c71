"""One cluster for the whole end-to-end run: it is what takes the time."""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster

PROGRAMS = ("etcd", "containerd", "runc", "iptables", "conntrack", "kubectl", "nsenter", "ip")


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
