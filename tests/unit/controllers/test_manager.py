"""Choosing controllers, and an identity for each."""
from __future__ import annotations

import pytest

from kubepy.api.resource import SERVICE_ACCOUNTS
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.kubeconfig import Config
from kubepy.client.memory import MemoryClient
from kubepy.controllers import main, manager
from kubepy.controllers.kit.identity import Identities


@pytest.mark.parametrize(("selection", "inside", "outside"), [
    pytest.param(["*"], "deployment-controller", "token-cleaner-controller", id="all that are on by default"),
    pytest.param(["*", "tokencleaner", "-deployment"], "token-cleaner-controller", "deployment-controller", id="one more and one less"),
    pytest.param(["replicaset"], "replicaset-controller", "deployment-controller", id="only one"),
])
def test_choice(selection: list[str], inside: str, outside: str) -> None:
    names = [entry.name for entry in manager.choose(selection)]
    assert inside in names
    assert outside not in names


def test_an_unknown_controller_is_refused() -> None:
    with pytest.raises(manager.UnknownController):
        manager.choose(["*", "nonsense"])
    with pytest.raises(SystemExit):
        main.main(["--controllers=nonsense"])


def test_flags_become_options(tmp_path: object) -> None:
    args = main.parser().parse_args(["--cluster-cidr=10.0.0.0/8,fd00::/48", "--node-monitor-grace-period=1m30s", "--concurrent-gc-syncs=3",
                                     "--allocate-node-cidrs"])
    options = main.options(args)
    assert options.cluster_cidr == ("10.0.0.0/8", "fd00::/48")
    assert (options.node_monitor_grace_period, options.concurrency("gc", 20), options.allocate_node_cidrs) == (90.0, 3, True)


async def test_each_identity_gets_its_account_and_token_and_start_waits_for_all() -> None:
    clock = VirtualClock()
    client, tasks = MemoryClient(clock), Tasks("test", clock)
    identities = Identities(client, Config("http://127.0.0.1:1"), clock, tasks)
    for account in ("a", "b"):
        identities.client(account)
    identities.client("a", metadata_only=True)
    waiting = tasks.start(identities.wait(), "wait")
    await settle()
    await clock.advance(0.2)
    assert waiting.done()
    assert [item["metadata"]["name"] for item in client.all(SERVICE_ACCOUNTS)] == ["a", "b"]
    await identities.close()
    await tasks.stop()
