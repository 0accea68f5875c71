"""The controllers there are, and running the chosen ones with the identity each has upstream."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from kubepy.base import garbage
from kubepy.base.log import get_logger
from kubepy.base.metrics import gauge
from kubepy.client.controller import Controller, Runtime
from kubepy.controllers import (
    bootstrap,
    clusterrole,
    cronjob,
    devicetaint,
    disruption,
    namespace,
    podgc,
    policystatus,
    protection,
    quota,
    replicaset,
    resourceclaim,
    resourcepool,
    rootca,
    selinux,
    serviceaccount,
    servicecidr,
    storageversion,
)
from kubepy.controllers.autoscale import reconcile as autoscale
from kubepy.controllers.certificate import approve, clean, publish, sign
from kubepy.controllers.cloud import node as cloud_node
from kubepy.controllers.cloud import route as cloud_route
from kubepy.controllers.cloud import service as cloud_service
from kubepy.controllers.daemonset import reconcile as daemonset
from kubepy.controllers.deployment import reconcile as deployment
from kubepy.controllers.endpoint import legacy, mirror, nameserver, slices
from kubepy.controllers.garbage import collector
from kubepy.controllers.job import reconcile as job
from kubepy.controllers.job import ttl as job_ttl
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.localpath import reconcile as localpath
from kubepy.controllers.migration import reconcile as migration
from kubepy.controllers.node import eviction, ipam, lifecycle, ttl
from kubepy.controllers.statefulset import reconcile as statefulset
from kubepy.controllers.token import cleanup, secret
from kubepy.controllers.volume import attach, binder, ephemeral, expand

RUNNING = gauge("running_managed_controllers", "Indicates where instances of a controller are currently running", ("name", "manager"))
log = get_logger("manager")


class Entry(NamedTuple):
    """`build` returns None when the configuration gives the controller nothing to do."""

    name: str
    aliases: tuple[str, ...]
    build: Callable[[Environment], Controller | None]
    enabled: bool = True
    """Whether `*` includes it."""
    gate: str = ""
    """The feature without which it does not run."""


CONTROLLERS: tuple[Entry, ...] = (
    Entry("namespace-controller", ("namespace",), namespace.controller),
    Entry("serviceaccount-controller", ("serviceaccount",), serviceaccount.controller),
    Entry("serviceaccount-token-controller", ("serviceaccount-token",), secret.controller),
    Entry("legacy-serviceaccount-token-cleaner-controller", ("legacy-service-account-token-cleaner",), cleanup.controller),
    Entry("service-cidr-controller", (), servicecidr.controller),
    Entry("resourceclaim-controller", ("resource-claim-controller",), resourceclaim.controller),
    Entry("validatingadmissionpolicy-status-controller", (), policystatus.controller),
    Entry("service-lb-controller", ("service",), cloud_service.controller),
    Entry("node-route-controller", ("route",), cloud_route.controller),
    Entry("cloud-node-controller", ("cloud-node",), cloud_node.initialize),
    Entry("cloud-node-lifecycle-controller", ("cloud-node-lifecycle",), cloud_node.lifecycle),
    Entry("root-ca-certificate-publisher-controller", ("root-ca-cert-publisher",), rootca.controller),
    Entry("endpoints-controller", ("endpoint",), legacy.controller),
    Entry("endpointslice-controller", ("endpointslice",), slices.controller),
    Entry("node-ipam-controller", ("nodeipam",), ipam.controller),
    Entry("node-lifecycle-controller", ("nodelifecycle",), lifecycle.controller),
    Entry("taint-eviction-controller", (), eviction.controller),
    Entry("device-taint-eviction-controller", (), devicetaint.controller),
    Entry("resourcepoolstatusrequest-controller", (), resourcepool.controller, gate="DRAResourcePoolStatus"),
    Entry("ttl-controller", ("ttl",), ttl.controller),
    Entry("pod-garbage-collector-controller", ("podgc",), podgc.controller),
    Entry("garbage-collector-controller", ("garbagecollector",), collector.controller),
    Entry("job-controller", ("job",), job.controller),
    Entry("job-orphan-pod-controller", (), job.orphans),
    Entry("ttl-after-finished-controller", ("ttl-after-finished",), job_ttl.controller),
    Entry("daemonset-controller", ("daemonset",), daemonset.controller),
    Entry("statefulset-controller", ("statefulset",), statefulset.controller),
    Entry("cronjob-controller", ("cronjob",), cronjob.controller),
    Entry("endpointslice-mirroring-controller", ("endpointslicemirroring",), mirror.controller),
    Entry("node-dns-controller", (), nameserver.controller),
    Entry("clusterrole-aggregation-controller", ("clusterrole-aggregation",), clusterrole.controller),
    Entry("persistentvolume-binder-controller", ("persistentvolume-binder",), binder.controller),
    Entry("persistentvolume-attach-detach-controller", ("attachdetach",), attach.controller),
    Entry("persistentvolume-expander-controller", ("persistentvolume-expander",), expand.controller),
    Entry("ephemeral-volume-controller", ("ephemeral-volume",), ephemeral.controller),
    Entry("local-path-provisioner", (), localpath.controller),
    Entry("persistentvolumeclaim-protection-controller", ("pvc-protection",), protection.claims),
    Entry("persistentvolume-protection-controller", ("pv-protection",), protection.volumes),
    Entry("volumeattributesclass-protection-controller", (), protection.classes),
    Entry("certificatesigningrequest-approving-controller", ("csrapproving",), approve.controller),
    Entry("certificatesigningrequest-signing-controller", ("csrsigning",), sign.controller),
    Entry("certificatesigningrequest-cleaner-controller", ("csrcleaner",), clean.controller),
    Entry("podcertificaterequest-cleaner-controller", (), clean.pods, gate="PodCertificateRequest"),
    Entry("kube-apiserver-serving-clustertrustbundle-publisher-controller", (), publish.controller, gate="ClusterTrustBundle"),
    Entry("storageversion-garbage-collector-controller", ("storage-version-gc",), storageversion.controller, gate="StorageVersionAPI"),
    Entry("storage-version-migrator-controller", (), migration.controller, gate="StorageVersionMigrator"),
    Entry("horizontal-pod-autoscaler-controller", ("horizontalpodautoscaling",), autoscale.controller),
    Entry("disruption-controller", ("disruption",), disruption.controller),
    Entry("selinux-warning-controller", (), selinux.controller, enabled=False),
    Entry("resourcequota-controller", ("resourcequota",), quota.controller),
    Entry("bootstrap-signer-controller", ("bootstrapsigner", "bootstrap-signer"), bootstrap.signer, enabled=False),
    Entry("token-cleaner-controller", ("tokencleaner", "token-cleaner"), bootstrap.cleaner, enabled=False),
    Entry("deployment-controller", ("deployment",), deployment.controller),
    Entry("replicaset-controller", ("replicaset",), replicaset.replicaset),
    Entry("replicationcontroller-controller", ("replicationcontroller",), replicaset.replicationcontroller),
)


class UnknownController(ValueError):
    """`--controllers` names what does not exist."""


def choose(selection: Sequence[str]) -> list[Entry]:
    """`*` is all that are on by default, `name` adds one, `-name` takes one away. Raises UnknownController."""
    by_name = {alias: entry.name for entry in CONTROLLERS for alias in (entry.name, *entry.aliases)}
    chosen = {entry.name for entry in CONTROLLERS if "*" in selection and entry.enabled}
    for item in selection:
        name = item.removeprefix("-")
        if item == "*":
            continue
        if name not in by_name:
            raise UnknownController(f'"{name}" is not in the list of known controllers: {", ".join(entry.name for entry in CONTROLLERS)}')
        (chosen.discard if item.startswith("-") else chosen.add)(by_name[name])
    return [entry for entry in CONTROLLERS if entry.name in chosen]


Runtimes = Sequence[tuple[str, Runtime]]


def build(env: Environment, entries: Iterable[Entry]) -> Runtimes:
    """Makes the controllers; nothing is asked of the API server yet but their tokens."""
    runtimes: list[tuple[str, Runtime]] = []
    for entry in entries:
        if not env.options.gates.enabled(entry.gate):
            log.v(1).info("Controller is disabled by a feature gate", controller=entry.name, gate=entry.gate)
            continue
        controller = entry.build(env)
        if controller is None:
            log.info("Controller has nothing to do with this configuration", controller=entry.name)
            continue
        runtimes.append((entry.name, Runtime(controller, env.informers, env.clock)))
    return runtimes


async def _settle(env: Environment) -> None:
    await env.informers.wait_synced()
    garbage.spare(300_000)  # some thousand objects of others; reconciling them leaves no cycles


async def run(env: Environment, runtimes: Runtimes, before: Callable[[], Awaitable[None]] | None = None) -> None:
    """Awaits `before`, starts caches and controllers; waits until cancelled. The environment's tasks end with their owner."""
    env.informers.start(env.tasks)
    env.tasks.start(_settle(env), "settle")
    if before is not None:
        await before()
    for name, runtime in runtimes:
        RUNNING.labels(name, "kube-controller-manager").set(1)
        env.tasks.keep(runtime.run, name)
        log.v(1).info("Started controller", controller=name)
    await asyncio.Event().wait()
