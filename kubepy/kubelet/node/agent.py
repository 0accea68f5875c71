"""Registers the node, reports its status, renews its Lease, and gives it a pod network (upstream's nodestatus and nodelease).

The status is computed every ten seconds and written when something has changed, or every five minutes; the Lease is renewed
every ten seconds. Until the node is Ready everything is looked at several times a second.
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from kubepy.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from kubepy.api.resource import LEASES, NODES
from kubepy.api.types import Object
from kubepy.base.boot import marked
from kubepy.base.clock import Clock, format_micro_time
from kubepy.base.log import get_logger
from kubepy.client.events import Recorder
from kubepy.client.interface import Client
from kubepy.kubelet.cni import write_conflist
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.node.machine import Machine
from kubepy.kubelet.node.status import RuntimeState, labels, new_node, node_status, same_but_heartbeat
from kubepy.kubelet.pod.reporter import difference
from kubepy.kubelet.settings import Settings

log = get_logger("node")
_UNPROTECTED = ("NetworkReady=false reason:NetworkPluginNotReady "
                "message:network policies are not yet in force since this machine was started")
LEASE_NAMESPACE = "kube-node-lease"
_FAST = 0.2
_EVENTS = {"Ready": ("NodeNotReady", "NodeReady"), "MemoryPressure": ("NodeHasSufficientMemory", "NodeHasInsufficientMemory"),
           "DiskPressure": ("NodeHasNoDiskPressure", "NodeHasDiskPressure"),
           "PIDPressure": ("NodeHasSufficientPID", "NodeHasInsufficientPID")}
"""By condition, the event's reason when it is not so and when it is."""


class NodeAgent:
    """One node's face to the API."""

    def __init__(self, settings: Settings, client: Client, runtime: Runtime, machine: Machine, events: Recorder, clock: Clock, *,
                 ips: tuple[str, ...], port: Callable[[], int], problem: Callable[[], str],
                 pressures: Callable[[], frozenset[str]], volumes_in_use: Callable[[], list[str]] = list,
                 extended: Callable[[], tuple[dict[str, str], dict[str, str]]] = lambda: ({}, {}),
                 handlers: Callable[[Mapping[str, pb.RuntimeHandlerFeatures]], None] = lambda handlers: None) -> None:
        """`handlers` is told what the runtime's handlers can, `extended` tells capacity and allocatable of device plugins' resources."""
        self.settings = settings
        self._client = client
        self._runtime = runtime
        self.machine = machine
        self._events = events
        self._clock = clock
        self.ips = ips
        self._port = port
        self._problem = problem
        self._pressures = pressures
        self._volumes_in_use = volumes_in_use
        self._extended = extended
        self._handlers = handlers
        self.state = RuntimeState(problem="kubelet has not looked yet", network_problem="not known yet")
        self.node: Object | None = None
        """As last seen in the API."""
        self._sent_at = -1e9
        self._written: tuple[Object, Object] = ({}, {})
        """The status last sent, and what the server made of it: an older one drops what it does not know."""
        self._cidrs: tuple[str, ...] = ()
        self.network_changed = asyncio.Event()
        self._wake = asyncio.Event()

    # --- news ---

    def seen(self, node: Object) -> None:
        """The Node object as the API has it now."""
        self.node = node
        spec = node.get("spec") or {}
        cidrs = tuple(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ()))
        if cidrs and cidrs != self._cidrs:
            self._cidrs = cidrs
            if self.settings.cni_conf_dir:
                try:
                    if write_conflist(self.settings.cni_conf_dir, cidrs, bridge=self.settings.cni_bridge, mtu=self.settings.cni_mtu,
                                      data_dir=self.settings.cni_data_dir):
                        log.info("Pod network configured", cidrs=",".join(cidrs))
                except (OSError, ValueError) as error:
                    log.error("Cannot write the pod network's configuration", error)
            self._wake.set()

    def refresh(self) -> None:
        """Looks and reports at once."""
        self._wake.set()

    # --- status ---

    async def run_status(self) -> None:
        while True:
            await self.look()
            try:
                await self.report()
            except (ApiError, ConnectionError) as error:
                log.warning("Node status not written yet", err=error)
            ready = not self.state.problem and not self.state.network_problem and self._shown_ready()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.node_status_update_frequency if ready else _FAST):
                    await self._wake.wait()

    def _shown_ready(self) -> bool:
        conditions = ((self.node or {}).get("status") or {}).get("conditions") or ()
        return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)

    async def look(self) -> None:
        """Asks the runtime how it is."""
        problem, network = self._problem(), ""
        handlers, features = self.state.handlers, self.state.supplemental_groups_policy
        version = self.state.version
        try:
            if not version:
                answer = await self._runtime.version()
                version = f"{answer.runtime_name}://{answer.runtime_version.removeprefix('v')}"
            answer_now = await self._runtime.status()
            status, features = answer_now.status, answer_now.features.supplemental_groups_policy
            handlers = {entry.name: entry.features for entry in answer_now.runtime_handlers}
            self._handlers(handlers)
            conditions = {condition.type: condition for condition in status.conditions}
            for kind in ("RuntimeReady", "NetworkReady"):
                condition = conditions.get(kind)
                if condition is None or condition.status:
                    continue
                text = f"{kind}=false reason:{condition.reason} message:{condition.message}"
                if kind == "NetworkReady":
                    network = text
                else:
                    problem = problem or f"container runtime status check may not have completed yet: {text}"
        except CriError as error:
            problem = problem or f"container runtime is down: {error.go()}"
        if not network and self.settings.network_ready_file and not marked(Path(self.settings.network_ready_file)):
            network = _UNPROTECTED
        before = self.state
        self.state = RuntimeState(version, problem, network, self._pressures(), handlers, features)
        if before.network_problem and not network:
            self.network_changed.set()

    async def report(self) -> None:
        """Registers the node or writes its status when that is due."""
        if self.node is None:
            await self._register()
            return
        status = await self._status()
        old = self.node.get("status") or {}
        now = self._clock.monotonic()
        sent, kept = self._written
        same = same_but_heartbeat(old, status) or (same_but_heartbeat(sent, status) and same_but_heartbeat(kept, old))
        if same and now - self._sent_at < self.settings.node_status_report_frequency:
            return
        patch = difference(old, {**status, "conditions": status["conditions"]})
        if "addresses" in patch:
            patch["addresses"] = [*status["addresses"], *(
                {"$patch": "delete", "type": entry["type"]} for entry in old.get("addresses") or ()
                if entry["type"] not in {address["type"] for address in status["addresses"]})]
        if not patch:
            return
        self.node = await self._client.patch(NODES, self.settings.node_name, {"status": patch}, type="strategic", subresource="status")
        self._sent_at = now
        self._written = (status, self.node.get("status") or {})
        self._tell(old, status)

    def _tell(self, old: Object, status: Object) -> None:
        """Events of what is another than before."""
        before = {entry["type"]: entry.get("status") for entry in old.get("conditions") or ()}
        for entry in status["conditions"]:
            words = _EVENTS.get(entry["type"])
            if words is None or before.get(entry["type"]) == entry["status"]:
                continue
            reason = words[entry["status"] == "True"]
            log.info("Node condition changed", condition=entry["type"], status=entry["status"], reason=entry["reason"],
                     why=entry["message"])
            self._event("Normal", reason, f"Node {self.settings.node_name} status is now: {reason}")
        boot = (old.get("nodeInfo") or {}).get("bootID")
        if boot and boot != status["nodeInfo"]["bootID"]:
            self._event("Warning", "Rebooted", f"Node {self.settings.node_name} has been rebooted, boot id: {status['nodeInfo']['bootID']}")

    async def _status(self) -> Object:
        try:
            images = await self._runtime.list_images()
        except CriError:
            images = []
        old = (self.node or {}).get("status") or {}
        status = node_status(self.settings, self.machine, self.state, images, old, self._clock.now(), ips=self.ips, port=self._port(),
                             extended=self._extended())
        volumes = await asyncio.to_thread(self._volumes_in_use)
        return {**status, "volumesInUse": volumes} if volumes or old.get("volumesInUse") else status

    async def _register(self) -> None:
        status = await self._status()
        wanted = new_node(self.settings, self.machine, status)
        try:
            if not self.settings.register_node:
                self.seen(await self._client.get(NODES, self.settings.node_name))
                return
            self.seen(await self._client.create(NODES, wanted))
            log.info("Node registered", node=self.settings.node_name)
            self._tell({}, status)
        except NotFound:
            return
        except AlreadyExists:
            found = await self._client.get(NODES, self.settings.node_name)
            missing = {key: value for key, value in labels(self.settings, self.machine).items()
                       if (found["metadata"].get("labels") or {}).get(key) != value}
            if missing:
                found = await self._client.patch(NODES, self.settings.node_name, {"metadata": {"labels": missing}}, type="merge")
            self.seen(found)
            log.info("Node was registered before", node=self.settings.node_name)
        self._event("Normal", "Starting", "Starting kubelet.")
        if self.settings.cgroups_per_qos:
            self._event("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")

    def _event(self, kind: str, reason: str, message: str) -> None:
        about = {"kind": "Node", "apiVersion": "v1", "name": self.settings.node_name, "uid": self.settings.node_name}
        self._events.event(about, "Warning" if kind == "Warning" else "Normal", reason, message)

    # --- lease ---

    async def run_lease(self) -> None:
        lease: Object | None = None
        while True:
            try:
                lease = await self._renew(lease)
                delay = self.settings.node_lease_duration_seconds * 0.25
            except (ApiError, ConnectionError) as error:
                log.warning("Lease not renewed", err=error)
                if isinstance(error, (NotFound, Conflict)):
                    lease = None
                delay = 1.0
            await self._clock.sleep(delay)

    async def _renew(self, lease: Object | None) -> Object:
        name = self.settings.node_name
        spec = {"holderIdentity": name, "leaseDurationSeconds": self.settings.node_lease_duration_seconds,
                "renewTime": format_micro_time(self._clock.now())}
        owners = []
        if self.node is not None:
            owners = [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": self.node["metadata"]["uid"]}]
        if lease is None:
            try:
                lease = await self._client.get(LEASES, name, LEASE_NAMESPACE)
            except NotFound:
                fresh: Object = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
                                 "metadata": {"name": name, "namespace": LEASE_NAMESPACE}, "spec": spec}
                if owners:
                    fresh["metadata"]["ownerReferences"] = owners
                return await self._client.create(LEASES, fresh, LEASE_NAMESPACE)
        changed = {**lease, "metadata": dict(lease["metadata"]), "spec": {**(lease.get("spec") or {}), **spec}}
        if owners and not changed["metadata"].get("ownerReferences"):
            changed["metadata"]["ownerReferences"] = owners
        return await self._client.update(LEASES, changed)
