"""The kubelet put together: what it owns, in which order it starts, how its parts hear of each other."""
from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubepy.api.resource import NODES, PODS, SERVICES
from kubepy.api.scheduling import amount, amounts
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.events import EventRecorder
from kubepy.client.informer import Informer
from kubepy.client.interface import Client
from kubepy.kubelet import metric
from kubepy.kubelet.allocate import Allocator, Extras
from kubepy.kubelet.cgroup.process import Processes
from kubepy.kubelet.cgroup.tree import Cgroups
from kubepy.kubelet.container.env import Sources
from kubepy.kubelet.cpu.manager import CpuManager
from kubepy.kubelet.cpu.topology import parse as parse_cpus
from kubepy.kubelet.cpu.topology import read_distances, read_nodes, read_topology
from kubepy.kubelet.cri.interface import Runtime
from kubepy.kubelet.cri.runtime_pb2 import RuntimeHandlerFeatures
from kubepy.kubelet.csi.registry import Registry
from kubepy.kubelet.csi.volume import CsiVolumes
from kubepy.kubelet.device.manager import Devices
from kubepy.kubelet.device.plugin import DevicePlugins
from kubepy.kubelet.device.podresources import PodResources
from kubepy.kubelet.device.podresources_pb2 import DynamicResource
from kubepy.kubelet.dra.manager import ClaimError, Claims
from kubepy.kubelet.eviction.manager import Eviction
from kubepy.kubelet.feature import gates_of
from kubepy.kubelet.image.account import Accounts
from kubepy.kubelet.image.collect import ImageCollector
from kubepy.kubelet.image.manager import Images
from kubepy.kubelet.image.provider import Providers, load_providers
from kubepy.kubelet.image.record import Records
from kubepy.kubelet.memory.manager import MemoryManager, reserved_of
from kubepy.kubelet.memory.manager import read_nodes as read_memory
from kubepy.kubelet.node.agent import NodeAgent
from kubepy.kubelet.node.machine import default_ip, read_machine
from kubepy.kubelet.node.shutdown import PROBLEM, REFUSAL, Shutdown
from kubepy.kubelet.node.status import allocatable, pods_limits
from kubepy.kubelet.plugin.registry import Plugins
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.actor import Actor, Surroundings
from kubepy.kubelet.pod.admission import admit
from kubepy.kubelet.pod.allocation import Allocations
from kubepy.kubelet.pod.logrotate import LogRotation
from kubepy.kubelet.pod.manager import Pods
from kubepy.kubelet.pod.pleg import Pleg
from kubepy.kubelet.pod.preempt import REASON as PREEMPTED
from kubepy.kubelet.pod.preempt import plan_preemption
from kubepy.kubelet.pod.reporter import Reporter
from kubepy.kubelet.pod.shared import Shared
from kubepy.kubelet.pod.status import Node
from kubepy.kubelet.probe.manager import Probes
from kubepy.kubelet.runtime import apparmor_enabled
from kubepy.kubelet.server.pressure import Pressures
from kubepy.kubelet.server.stat import Statistics
from kubepy.kubelet.server.volumestat import VolumeStatistics
from kubepy.kubelet.settings import Settings
from kubepy.kubelet.source.file import FileSource
from kubepy.kubelet.source.url import UrlSource
from kubepy.kubelet.topology import CLOSEST
from kubepy.kubelet.volume.bundle import Bundles
from kubepy.kubelet.volume.certificate import PodCertificates
from kubepy.kubelet.volume.manager import Volumes
from kubepy.kubelet.volume.objects import Objects
from kubepy.kubelet.volume.token import Tokens

log = get_logger("kubelet")
_PLEG_SILENCE, _TIDY = 180.0, 2.0


class Kubelet:
    """One node agent. `start()` returns once everything runs; `stop()` leaves all pods as they are."""

    def __init__(self, settings: Settings, client: Client, runtime: Runtime, clock: Clock) -> None:
        self.settings = settings
        self.client = client
        self.runtime = runtime
        self.clock = clock
        self.tasks = Tasks("kubelet", clock)
        os.makedirs(settings.root_dir, exist_ok=True)  # its file system is the node's storage
        self.machine = read_machine(settings.root_dir)
        self.ips = tuple(settings.node_ip.split(",")) if settings.node_ip else (default_ip(),)
        self.around = Surroundings(self.ips, self.machine.memory, (), allocatable(settings, self.machine),
                                   swap=self.machine.swap if settings.swap_behavior == "LimitedSwap" else 0)
        self.events = EventRecorder(client, "kubelet", settings.node_name, clock)
        self.cgroups = Cgroups(settings.cgroup_root, driver=settings.cgroup_driver, pids_limit=settings.pod_pids_limit,
                               per_qos=settings.cgroups_per_qos, cfs_quota=settings.cpu_cfs_quota, top=pods_limits(settings, self.machine),
                               reserved=settings.qos_reserved if gates_of(settings)["QOSReserved"] else {})
        tokens = Tokens(client, clock)
        providers = load_providers(settings.image_credential_provider_config, settings.image_credential_provider_bin_dir) \
            if settings.image_credential_provider_config else []
        self.records = Records(settings.root_dir, settings.image_verification_policy, settings.image_verification_allowed)
        self.images = Images(runtime, clock, parallel=1 if settings.image_pull_serial else settings.image_pulls_parallel or None,
                             providers=Providers(providers, clock, Accounts(client, tokens)) if providers else None, records=self.records)
        self.objects = Objects(client, clock, settings.object_changes, self._objects_changed)
        self.drivers = Registry(client, settings.node_name, lambda: self.node.node, lambda: self.pods.wake_all(), clock)
        self.claims = Claims(settings.root_dir, client, settings.node_name, clock, lambda: self.pods.wake_all())
        self.device_plugins = DevicePlugins(settings.root_dir, clock, self._devices_changed)
        self.devices = Devices(self.device_plugins, clock)
        self.plugins = Plugins(settings.root_dir, clock, (self.drivers, self.claims, self.device_plugins))
        self.csi = CsiVolumes(settings, client, self.drivers, tokens)
        self.certificates = PodCertificates(client, clock, settings.node_name, lambda: self.node.node, lambda uid: self.pods.wake(uid))
        self.volumes = Volumes(settings, client, self.objects, tokens, self._sources, self.csi, self.events, Bundles(client, clock),
                               self.certificates)
        self.actor = Actor(runtime, client, settings, self.cgroups, self.images, self.objects, self.events, clock, self.around)
        self.cpus = _cpu_manager(settings)
        self.memory = MemoryManager(settings.memory_manager_policy, read_memory(), reserved_of(settings.reserved_memory),
                                    Path(settings.root_dir, "memory_manager_state"))
        self.allocator = Allocator(self.cpus, self.memory, self.devices, settings.topology_manager_policy, settings.topology_manager_scope,
                                   frozenset(read_nodes().values()) or frozenset({0}), self._uses_resources,
                                   read_distances() if settings.topology_manager_options.get(CLOSEST) == "true" else {})
        self.actor.given = Extras(self.cpus, self.memory, self.devices, self.claims)
        self.allocations = Allocations(settings.root_dir)
        self.pods = Pods(client, settings.node_name, lambda: self.node.node)
        self.pod_resources = PodResources(settings.root_dir, lambda: self.pods.others(""), self.cpus, self.memory, self.devices,
                                          self._claims_of)
        self.probes = Probes(runtime, self.events, clock, self.pods.wake, self.ips[0])
        self.reporter = Reporter(client, clock, self.pods.api_pod)
        self.pleg = Pleg(runtime, clock, self.pods.notice)
        self.volume_statistics = VolumeStatistics(lambda: self.pods.others(""), self.volumes.paths, self.csi, clock,
                                                   settings.volume_stats_period)
        self.statistics = Statistics(settings, runtime, clock, self.volume_statistics.of, Pressures(self.cgroups))
        self.collector = ImageCollector(settings, runtime, clock, gone=self.records.forget)
        self.eviction = Eviction(settings, self.pods, self.statistics, self.events, clock, lambda: self.collector.look(everything=True))
        self.node = NodeAgent(settings, client, runtime, self.machine, self.events, clock, ips=self.ips, port=lambda: settings.port,
                              problem=self._problem, pressures=self.eviction.pressures,
                              volumes_in_use=self.csi.in_use, extended=self._extended,
                              handlers=self._learn_handlers)
        self.shutdown = Shutdown(settings, self.pods, clock, self.node.refresh)
        self._pod_informer = Informer(client, PODS, field_selector=f"spec.nodeName={settings.node_name}", clock=clock)
        self._node_informer = Informer(client, NODES, field_selector=f"metadata.name={settings.node_name}", clock=clock)
        self._service_informer = Informer(client, SERVICES, clock=clock)
        self._apparmor = apparmor_enabled()
        self._awaited: dict[str, list[str]] = {}
        """By critical pod, those that end to make room for it."""
        self._static: dict[str, list[Object]] = {}
        """By source; pods are not removed before all sources have been heard."""
        self._sources_expected = bool(settings.static_pod_path) + bool(settings.static_pod_url)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        settings = self.settings
        self._loop = asyncio.get_running_loop()
        for directory in (settings.root_dir, str(settings.pods_dir), settings.pod_logs_dir):
            os.makedirs(directory, exist_ok=True)
        self.cgroups.start()
        self.devices.load()
        self.actor.users.load()
        self.claims.load()
        self.allocations.load()
        for part in (self.device_plugins, self.pod_resources):
            try:
                await part.start()
            except OSError as error:
                log.error("Not served", error)
        metric.NODE_NAME.labels(settings.node_name).set(1)
        self.pods.shared = Shared(self.actor, self.allocations, self.reporter, self.probes, self.volumes, self.cgroups, self.objects,
                                  self.events, self.clock, self._shown_node, lambda: self.node.state.network_problem,
                                  self.pods.others, lambda: amounts(self.around.allocatable), settings.sync_frequency,
                                  settings.crash_loop_max, self._allocate, self.claims, self.cpus.has_own, self.memory.has_own,
                                  self.devices.health, self.pods.wake_deferred, self.pleg.unseen)
        self.pods.admit = self._admit
        self.events.start(self.tasks)
        self.tasks.keep(self.reporter.run, "status")
        self.tasks.keep(self.node.run_status, "node")
        self.tasks.keep(self.node.run_lease, "lease")
        self._node_informer.add_handler(self.node.seen, lambda _, node: self.node.seen(node), self._node_gone)
        renew = self._services_changed
        self._service_informer.add_handler(renew, lambda _, service: renew(service), renew)
        self.tasks.keep(self._node_informer.run, "nodes")
        self.tasks.keep(self._service_informer.run, "services")
        self.tasks.keep(self.pleg.run, "pleg")
        if settings.static_pod_path:
            source = FileSource(settings.static_pod_path, settings.node_name, self.clock, self._static_changed)
            self.tasks.keep(source.run, "files")
        if settings.static_pod_url:
            url = UrlSource(settings.static_pod_url, settings.static_pod_url_header, settings.node_name, settings.http_check_frequency,
                            self.clock, lambda pods: self._set_static("url", pods))
            self.tasks.keep(url.run, "url")
        self.tasks.keep(self._watch_pods, "sources")
        self.tasks.keep(self.pods.run, "cleanup")
        self.tasks.keep(self.objects.run, "objects")
        self.tasks.keep(self.volume_statistics.run, "volumes")
        self.tasks.keep(self._network_back, "network")
        self.tasks.keep(LogRotation(settings, self.runtime, self.clock).run, "logs")
        self.tasks.keep(self.collector.run, "images")
        self.tasks.keep(self.eviction.run, "eviction")
        self.tasks.keep(self.plugins.run, "plugins")
        self.tasks.keep(self.drivers.run, "csi")
        self.tasks.keep(self.shutdown.run, "shutdown")
        self.tasks.keep(lambda: self.cpus.run(self.runtime, self.clock, self._uses_resources, settings.cpu_manager_period), "cpus")
        self.tasks.keep(self._tidy, "resources")
        self.tasks.keep(lambda: Processes(self.cgroups, settings.kubelet_cgroups, settings.system_cgroups).run(self.clock), "processes")
        self.tasks.keep(self.allocations.run, "allocations")
        log.info("Kubelet started", node=settings.node_name, endpoint=settings.runtime_endpoint)

    async def stop(self) -> None:
        """Ends the agent; pods keep running."""
        await self.tasks.stop()
        await self.pods.stop()
        self.allocations.save()
        await self.objects.stop()
        await self.certificates.stop()
        await self.pod_resources.stop()
        await self.device_plugins.stop()
        await self.claims.stop()

    async def _watch_pods(self) -> None:
        """Pods of the API are heard once services are known, which their environment shows."""
        await self._service_informer.wait_synced()
        self._pod_informer.add_handler(self.pods.set_api, lambda _, pod: self.pods.set_api(pod), self.pods.remove_api)
        self.tasks.keep(self._pod_informer.run, "pods")
        await self._pod_informer.wait_synced()
        while len(self._static) < self._sources_expected:
            await self.clock.sleep(0.2)
        self.pods.ready = True

    async def _network_back(self) -> None:
        while True:
            await self.node.network_changed.wait()
            self.node.network_changed.clear()
            self.pods.wake_all()

    def _static_changed(self, pods: list[Object]) -> None:
        assert self._loop is not None  # files are read in a thread
        self._loop.call_soon_threadsafe(self._set_static, "files", pods)

    def _set_static(self, source: str, pods: list[Object]) -> None:
        self._static[source] = pods
        self.pods.set_static([pod for found in self._static.values() for pod in found])

    def _shown_node(self) -> Node:
        features = self.around.handlers.get("")
        return Node(self.ips, self.around.runtime, features is not None and features.recursive_read_only_mounts)

    def _learn_handlers(self, handlers: Mapping[str, RuntimeHandlerFeatures]) -> None:
        self.around.handlers = handlers

    def _objects_changed(self, uids: set[str]) -> None:
        for uid in uids:
            self.pods.wake(uid)

    def _node_gone(self, node: Object) -> None:
        self.node.node = None

    def _services_changed(self, service: Object) -> None:
        self.around.services = list(self._service_informer.lister)

    def _admit(self, pod: Object, others: list[Object]) -> tuple[str, str] | None:
        if self.shutdown.active:
            return REFUSAL
        refused = admit(pod, others, node=lambda: self.node.node, settings=self.settings, machine=self.machine,
                        pressures=self.eviction.pressures, extended=self.devices.allocatable(),
                        apparmor=self._apparmor)
        if refused is None or not refused[0].startswith("OutOf") or not podspec.is_critical(pod):
            return refused
        victims = plan_preemption(pod, others, {**self.around.allocatable, **self.devices.allocatable()})
        if victims is None:
            return refused
        for victim in victims:
            worker = self.pods.worker(podspec.uid_of(victim))
            if worker is not None:
                log.warning("Preempting a pod for a critical one", pod=podspec.full_name(victim), critical=podspec.full_name(pod))
                self.events.event(victim, "Warning", *PREEMPTED)
                metric.PREEMPTIONS.labels(refused[0].removeprefix("OutOf")).inc()
                worker.end(failed=PREEMPTED)
        self._awaited[podspec.uid_of(pod)] = [podspec.uid_of(victim) for victim in victims]
        return None

    async def _allocate(self, pod: Object) -> tuple[str, str] | None:
        """Once those who make room for it have ended, a pod gets what is to be its own."""
        waits_for = self._awaited.pop(podspec.uid_of(pod), [])
        while any(self._uses_resources(uid) for uid in waits_for):
            await self.clock.sleep(0.1)
        return await self.allocator.admit(pod)

    def _uses_resources(self, uid: str) -> bool:
        """A pod that has ended keeps its object and its logs, and nothing else."""
        worker = self.pods.worker(uid)
        return worker is not None and worker.state in ("running", "terminating")

    def _devices_changed(self) -> None:
        self.devices.save()
        self.node.refresh()
        for uid in self.devices.holders():  # their status tells of their devices' health
            self.pods.wake(uid)

    def _extended(self) -> tuple[dict[str, str], dict[str, str]]:
        return self.devices.capacity(), self.devices.allocatable()

    def _claims_of(self, uid: str, container: str) -> list[DynamicResource]:
        worker = self.pods.worker(uid)
        found = podspec.find_container(worker.pod, container) if worker is not None else None
        return self.claims.described(worker.pod, found) if worker is not None and found is not None else []

    async def _tidy(self) -> None:
        """What pods had that went while the kubelet was away goes back too."""
        while True:
            await self.clock.sleep(_TIDY)
            self.device_plugins.tidy()
            for part in (self.cpus, self.memory, self.devices, self.claims, self.allocations):
                part.checkpoint.retry()
            if not self.pods.ready:
                continue
            self.allocator.release()
            self.allocations.release(lambda uid: self.pods.worker(uid) is not None)
            self.actor.users.release(lambda uid: self.pods.worker(uid) is not None)
            for uid in self.claims.stale(lambda uid: self.pods.worker(uid) is not None):
                try:
                    await self.claims.unprepare(uid)
                except ClaimError as error:
                    log.warning("A claim cannot be given back yet", pod=uid, err=error)

    def _problem(self) -> str:
        if self.shutdown.active:
            return PROBLEM
        silent = self.clock.monotonic() - self.pleg.relisted_at if self.pleg.relisted_at else 0.0
        return f"PLEG is not healthy: pleg was last seen active {silent:.0f}s ago; threshold is 3m0s" if silent > _PLEG_SILENCE else ""

    def _sources(self, pod: Object) -> Sources:
        worker = self.pods.worker(podspec.uid_of(pod))
        sandbox = worker.view.sandbox if worker is not None else None
        ips: Sequence[str] = sandbox.ips if sandbox is not None else ()
        return self.actor.sources({}, ips)


def _cpu_manager(settings: Settings) -> CpuManager:
    state = Path(settings.root_dir, "cpu_manager_state")
    if settings.cpu_manager_policy != "static":
        return CpuManager("none", (), 0, state)
    reserved = sum(amount("cpu", source.get("cpu", "0")) for source in (settings.system_reserved, settings.kube_reserved))
    return CpuManager("static", read_topology(), parse_cpus(settings.reserved_system_cpus) or -(-reserved // 1000), state,
                      settings.cpu_manager_options)
