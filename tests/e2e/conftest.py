"""One cluster of each kind for the whole end-to-end run, since they are what takes the time; a namespace for each attempt at a test."""
from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Generator, Iterator

import pytest

from deploy.local_cluster import LocalCluster
from tests import images, leftover
from tests.attempt import attempt_of
from tests.e2e.cluster import RECENT, Cluster, heard
from tests.e2e.space import Space, state

PROGRAMS = ("etcd", "containerd", "runc", "iptables", "kubectl", "nsenter", "ip", "nginx")
CLUSTERS: list[Callable[..., str]] = []
"""kubectl of the clusters that are up."""


@pytest.fixture(scope="session")
def one_node(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of one node."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    cluster = Cluster()
    cluster.create_network()
    try:
        print(cluster.up())
        cluster.import_images()
        CLUSTERS.append(cluster.kubectl)
        yield cluster
        if request.session.testsfailed:
            print(cluster.logs())
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        CLUSTERS[:] = [kubectl for kubectl in CLUSTERS if kubectl != cluster.kubectl]
        cluster.destroy()


@pytest.fixture
def cluster(one_node: Cluster) -> Iterator[Cluster]:
    """The cluster of one node, seen from a namespace that is made for this attempt."""
    space = Space(one_node.kubectl, "test")
    yield one_node.within(space.namespace)
    space.delete()


@pytest.fixture
def repeated(request: pytest.FixtureRequest) -> bool:
    """Whether this is not the first attempt."""
    return attempt_of(request.node) > 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker("root")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure is told with what the test has seen last, and with what its cluster looks like."""
    report = yield
    if report.failed and report.when != "teardown":
        report.sections.append(("Last commands", "\n".join(RECENT)))
        values = getattr(item, "funcargs", {}).values()
        seen = [value.kubectl for value in values if isinstance(value, LocalCluster)] or CLUSTERS[-1:]
        for kubectl in seen:
            try:
                report.sections.append(("Cluster", state(kubectl)))
            except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
                report.sections.append(("Cluster", f"does not tell: {error}"))
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nodes", default="namespace", metavar="KIND", help="what the joined node of the two-node tests is: namespace "
                     "(default), vm (a small virtual machine), systemd (one with that) or ssh:TARGET (another host)")


@pytest.fixture(scope="session")
def two_nodes(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    """A control plane and a node that has joined it, made as deploy/local-cluster makes them."""
    missing = [program for program in (*PROGRAMS, "ctr", "curl") if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    directory = leftover.directory("two")
    kind = request.config.getoption("--nodes")
    cluster = LocalCluster(uuid.uuid4().hex[:8], ["namespace", kind], directory / "cluster", heard=heard)
    (directory / "namespaces").write_text(f"kubepy-{cluster.name}-")
    failed = request.session.testsfailed
    try:
        cluster.create(reach=kind.startswith("ssh:"))
        cluster.up()
        for archive in images.archives().values():
            cluster.import_image(archive)
        CLUSTERS.append(cluster.kubectl)
        yield cluster
        if request.session.testsfailed > failed:
            print(cluster.logs())
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        CLUSTERS[:] = [kubectl for kubectl in CLUSTERS if kubectl != cluster.kubectl]
        cluster.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def space(two_nodes: LocalCluster) -> Iterator[Space]:
    """A namespace of the cluster of two nodes, made for this attempt."""
    found = Space(two_nodes.kubectl, "test")
    yield found
    found.delete()
