"""`kubepy scheduler`: flags, configuration, leadership."""
from __future__ import annotations

import socket
import sys
from functools import partial
from pathlib import Path

from kubepy.api.resource import NODES, PODS
from kubepy.base.flag import duration
from kubepy.client import daemon
from kubepy.client.informer import InformerFactory
from kubepy.client.interface import Client
from kubepy.client.series import SeriesRecorder
from kubepy.client.served import until_readable
from kubepy.scheduler import config as configuration
from kubepy.scheduler import usage
from kubepy.scheduler.config import Config, ConfigError
from kubepy.scheduler.explain import handler
from kubepy.scheduler.related import device_version, wait_for_devices
from kubepy.scheduler.scheduler import Scheduler

DESCRIPTION = """\
Gives every pending pod a node.

It watches pods and nodes, filters and scores every node for each pod in the order of their priority, and binds the pod to the best
one; a pod that fits nowhere gets an event and a condition that say why. Needs only a kubeconfig, for any API server from v1.30 on
(kinds that the server does not have are done without):

    kubepy scheduler --kubeconfig /etc/kubernetes/scheduler.conf

Why a pod goes where it goes: kubepy explain-scheduling POD (or GET /debug/explain?pod=NAMESPACE/POD on the secure port).
"""
CONFIGURATION = """\
configuration (--config): a KubeSchedulerConfiguration as kube-scheduler takes it, for example

    apiVersion: kubescheduler.config.k8s.io/v1
    kind: KubeSchedulerConfiguration
    parallelism: 16                    # bindings under way at a time
    podInitialBackoffSeconds: 1
    podMaxBackoffSeconds: 10
    leaderElection: {leaderElect: true}
    profiles:                          # pods choose one by spec.schedulerName
    - schedulerName: default-scheduler
    - schedulerName: packing
      plugins:                         # multiPoint or one point: preEnqueue queueSort preFilter filter postFilter
        multiPoint:                    #   preScore score reserve permit preBind bind postBind
          enabled: [{name: MyPlugin, weight: 2}]
        score:
          disabled: [{name: NodeResourcesBalancedAllocation}]
          enabled: [{name: NodeResourcesFit, weight: 5}]
      pluginConfig:                    # arguments as of kube-scheduler's plugins of the same names
      - {name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}}
      - {name: PodTopologySpread, args: {defaultingType: List, defaultConstraints: []}}
    extenders:
    - {urlPrefix: https://scheduler.example.com/v1, filterVerb: filter, prioritizeVerb: prioritize, weight: 1, enableHTTPS: true}

A plugin of one's own is a class that an installed package offers as entry point `kubepy.scheduler.plugins`; see
deploy/examples/scheduler-plugin. percentageOfNodesToScore has no effect: every node is always scored.
"""


def main(argv: list[str]) -> int:
    parser = daemon.parser("kube-scheduler", secure_port=10259, description=DESCRIPTION)
    parser.epilog = CONFIGURATION
    parser.add_argument("--config", default="", metavar="FILE", help="KubeSchedulerConfiguration: profiles, plugins and their arguments")
    args = parser.parse_args(argv)
    try:
        config = configuration.load(Path(args.config).read_text()) if args.config else configuration.default()
    except (OSError, ConfigError) as error:
        print(f"kubepy scheduler: --config: {error}", file=sys.stderr)
        return 1
    args.kubeconfig = args.kubeconfig or config.kubeconfig
    election = config.leader_election
    if "leaderElect" in election:
        args.leader_elect = bool(election["leaderElect"])
    for field, name in (("resourceName", "leader_elect_resource_name"), ("resourceNamespace", "leader_elect_resource_namespace")):
        if election.get(field):
            setattr(args, name, election[field])
    for field, name in (("leaseDuration", "lease_duration"), ("renewDeadline", "renew_deadline"), ("retryPeriod", "retry_period")):
        if election.get(field):
            setattr(args, f"leader_elect_{name}", duration(election[field]))

    leading: list[Scheduler] = []
    clients: list[Client] = []

    async def work(process: daemon.Daemon) -> None:
        await _work(process, config, leading)

    return daemon.run("kube-scheduler", args, work, extra={"/debug/explain": handler(lambda: leading[-1] if leading else None),
                                                                "/metrics/resources": usage.handler(clients)},
                      prepare=lambda process: clients.append(process.client), config={"componentconfig": config.source})


async def _work(process: daemon.Daemon, config: Config, leading: list[Scheduler]) -> None:
    recorder = SeriesRecorder(process.client, "default-scheduler", socket.gethostname())
    recorder.start(process.tasks)
    factory = InformerFactory(process.client)
    scheduler = Scheduler(process.client, config, recorder, process.clock)
    scheduler.snapshot.devices.ruled = process.args.feature_gates.enabled("DRADeviceTaintRules")
    await until_readable(process.client, process.clock, PODS, NODES)  # there is nothing to do without; roles may be bound yet
    devices = await device_version(process.client, process.clock)
    scheduler.register(factory, devices=devices)
    if not devices:
        register = partial(scheduler.feed.register_devices, factory)
        process.tasks.keep(lambda: wait_for_devices(process.client, process.clock, register), "devices")
    factory.start(process.tasks)
    process.health.ready["informer-sync"] = factory.synced
    leading.append(scheduler)
    await scheduler.run(factory)
