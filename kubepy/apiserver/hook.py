"""Post-start hooks: what a server sees to once it serves (system namespaces, roles, the kubernetes service, …).

Each hook is tried until it succeeds; /readyz waits for all of them. Several servers may run them at once: each step
tolerates that another has done it.
"""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kubepy.api.resource import CONFIGMAPS, NAMESPACES, PRIORITY_CLASSES, SERVICES, STORAGE_VERSIONS, Resource
from kubepy.apiserver import flowcontrol, kubernetes_service, trust
from kubepy.apiserver.authn.service_account import TRACKING
from kubepy.apiserver.authz.reconcile import reconcile_bootstrap
from kubepy.apiserver.ensure import ensure
from kubepy.apiserver.identity import RENEW_SECONDS, Identity
from kubepy.apiserver.server import Server
from kubepy.apiserver.service.repair import Repair
from kubepy.apiserver.service.reserve import ServiceReserver
from kubepy.apiserver.storage_version import Publisher
from kubepy.base.backoff import Backoff
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger

log = get_logger("hook")
SERVICE_CIDRS = Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", False)
SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")

FLOW_CONTROL_SECONDS = 60.0

Hook = Callable[[Server], Awaitable[None]]


async def namespaces(server: Server) -> None:
    for name in SYSTEM_NAMESPACES:
        await ensure(server, NAMESPACES, {"metadata": {"name": name}})


async def rbac(server: Server) -> None:
    if "RBAC" in server.options.authorization_mode:
        await reconcile_bootstrap(server.services.stores, server.clock, server.options.gates)


async def priority_classes(server: Server) -> None:
    for name, value, text in (
        ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
        ("system-cluster-critical", 2_000_000_000,
         "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
    ):
        await ensure(server, PRIORITY_CLASSES, {"metadata": {"name": name}, "value": value, "description": text})


async def flow_control(server: Server) -> None:
    """Puts the bootstrap objects in place, and again every minute when somebody has deleted them."""
    async def put() -> None:
        for level in flowcontrol.priority_levels():
            await ensure(server, flowcontrol.LEVELS, level)
        for schema in flowcontrol.flow_schemas():
            await ensure(server, flowcontrol.SCHEMAS, schema)

    async def keep() -> None:
        while True:
            await server.clock.sleep(FLOW_CONTROL_SECONDS)
            await put()

    await put()
    server.tasks.keep(keep, "priority-and-fairness-config")


async def service_cidr(server: Server) -> None:
    await ensure(server, SERVICE_CIDRS, {"metadata": {"name": "kubernetes"},
                                         "spec": {"cidrs": server.options.service_cluster_ip_range.split(",")}})


async def kubernetes(server: Server) -> None:
    """The service first, then the endpoints for as long as the server runs."""
    await namespaces(server)
    address = kubernetes_service.service_address(server.options.service_cluster_ip_range)
    await ensure(server, SERVICES, kubernetes_service.service(address, server.options.secure_port), kubernetes_service.NAMESPACE)
    if server.options.endpoint_reconciler_type == "none":
        return
    reconciler = kubernetes_service.Reconciler(server)
    await reconciler.once()
    server.leaving = reconciler.leave
    server.tasks.keep(reconciler.run, "kubernetes-service", maximum=5.0)


async def custom_resources(server: Server) -> None:
    from kubepy.apiserver.crd.controller import Controller

    await Controller(server).start()


async def service_repair(server: Server) -> None:
    reserver = server.reservers[SERVICES]
    assert isinstance(reserver, ServiceReserver)
    repair = Repair(server, reserver.ranges, reserver.ports)
    await repair.once()
    server.tasks.keep(repair.run, "service-repair")


async def authentication(server: Server) -> None:
    await namespaces(server)
    await trust.publish(server)
    changed = asyncio.Event()
    server.services.files.follow("authorities to publish", (server.options.client_ca_file, server.options.requestheader_client_ca_file),
                                 changed.set)
    server.tasks.keep(lambda: trust.republish(server, changed), "cluster-authentication-info", maximum=5.0)


async def token_tracking(server: Server) -> None:
    """Since when the uses of legacy tokens are noted."""
    await namespaces(server)
    today = format_time(server.clock.now())[:10]
    await ensure(server, CONFIGMAPS, {"metadata": {"name": TRACKING}, "data": {"since": today}}, "kube-system")


async def identity(server: Server) -> None:
    await namespaces(server)
    lease = Identity(server)
    await lease.once()
    server.tasks.keep(lease.renew, "identity-lease", maximum=RENEW_SECONDS)


async def identities(server: Server) -> None:
    """Removes leases of servers that are no more."""
    server.tasks.keep(Identity(server).clean, "identity-leases")


async def storage_versions(server: Server) -> None:
    await namespaces(server)
    lease = Identity(server)
    await lease.once()  # entries of servers without a lease are cleared away
    publisher = Publisher(server, lease.name)
    await publisher.once()
    server.tasks.keep(publisher.run, "storage-versions")


HOOKS: dict[str, Hook] = {
    "rbac/bootstrap-roles": rbac,
    "start-system-namespaces-controller": namespaces,
    "scheduling/bootstrap-system-priority-classes": priority_classes,
    "priority-and-fairness-config-producer": flow_control,
    "start-kubernetes-service-cidr-controller": service_cidr,
    "bootstrap-controller": kubernetes,
    "start-service-ip-repair-controllers": service_repair,
    "start-cluster-authentication-info-controller": authentication,
    "start-kube-apiserver-identity-lease-controller": identity,
    "start-kube-apiserver-identity-lease-garbage-collector": identities,
    "start-legacy-token-tracking-controller": token_tracking,
    "start-apiextensions-controllers": custom_resources,
}


def start_hooks(server: Server) -> None:
    hooks = {**HOOKS, **server.extra_hooks}
    if server.options.gates.enabled("StorageVersionAPI") and STORAGE_VERSIONS in {kind.resource for kind in server.kinds.builtin}:
        hooks["built-in-resources-storage-version-updater"] = storage_versions
    server.hooks = tuple(hooks)
    server.pending = set(hooks)
    for name, hook in hooks.items():
        server.tasks.start(_until_done(server, name, hook), name)


async def _until_done(server: Server, name: str, hook: Hook) -> None:
    backoff = Backoff(0.1, 5.0)
    while True:
        try:
            await hook(server)
            break
        except Exception as error:
            delay = backoff.next()
            log.error("A post-start hook failed and will be tried again", error, hook=name, delay=delay)
            await asyncio.sleep(delay)
    server.pending.discard(name)
