"""`kubepy local-path`: makes directories for claims on this node, where no controller manager does it."""
from __future__ import annotations

import sys
from pathlib import Path

from kubepy.base.task import Tasks
from kubepy.client import daemon
from kubepy.client.informer import InformerFactory
from kubepy.controllers import manager
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.localpath.reconcile import build
from kubepy.controllers.manager import Entry

DESCRIPTION = """\
Provisions volumes of the storage class with provisioner kubepy.io/local-path as directories of this node.

    kubepy local-path --kubeconfig local-path.kubeconfig --node-name worker-1 --directory /var/lib/kubepy/volumes
"""


def main(argv: list[str]) -> int:
    parser = daemon.parser("local-path", secure_port=0, description=DESCRIPTION, leader_elect=None)
    parser.add_argument("--node-name", required=True, metavar="NAME", help="this node's name")
    parser.add_argument("--directory", type=Path, default=Path("/var/lib/kubepy/volumes"), metavar="DIR",
                        help="where (default %(default)s)")
    args = parser.parse_args(argv)

    async def work(process: daemon.Daemon) -> None:
        tasks = Tasks("local-path", process.clock)
        informers = InformerFactory(process.client, clock=process.clock)
        env = Environment(lambda account: process.client, informers, tasks, clock=process.clock)
        process.health.ready["informer-sync"] = informers.synced
        try:
            entry = Entry("local-path-provisioner", (), lambda env: build(env, args.node_name, args.directory))
            await manager.run(env, manager.build(env, [entry]))
        finally:
            await tasks.stop()

    return daemon.run("local-path", args, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
