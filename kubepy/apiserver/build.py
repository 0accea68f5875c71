"""Assembles a `Server` from options: stores, authentication, authorization, admission."""
from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from kubepy.api.resource import SERVICES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.chain import build_chain
from kubepy.apiserver.admission.configuration import load as load_admission
from kubepy.apiserver.audit.auditor import build as build_auditor
from kubepy.apiserver.options import Options
from kubepy.apiserver.registry.core.podspec_gated import gated
from kubepy.apiserver.registry.core.podspec_security import capabilities
from kubepy.apiserver.registry.optional import OPTIONAL
from kubepy.apiserver.reload import reloads
from kubepy.apiserver.security import Security, build_security
from kubepy.apiserver.served import served
from kubepy.apiserver.server import Server, stored
from kubepy.apiserver.service.allocator import IP_ADDRESSES, NODE_PORTS, Addresses, NodePorts
from kubepy.apiserver.service.reserve import ServiceReserver
from kubepy.apiserver.services import Services
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.encryption import Reloadable
from kubepy.apiserver.storage.etcd import TLS
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.apiserver.table import KindTable
from kubepy.apiserver.webhook import Caller
from kubepy.base.task import Tasks

_UNSERVED = {item.kind.resource: item.kind for item in OPTIONAL}
"""Kinds that may be off while another version of them, which is stored as they are, is on."""


class Stores(Mapping[Resource, ResourceStore]):
    """The store of each resource, opened when it is first asked for; custom ones are added while the server runs."""

    def __init__(self, backend: Backend, kinds: KindTable) -> None:
        self._backend = backend
        self._kinds = kinds
        self._open: dict[Resource, ResourceStore] = {}

    def __getitem__(self, resource: Resource) -> ResourceStore:
        found = self._open.get(resource)
        if found is None:
            kind = self._kinds.find(resource.group, resource.version, resource.plural) or _UNSERVED.get(resource)
            if kind is None:
                raise KeyError(resource)
            if getattr(kind, "custom", False):
                return self.custom(stored(kind), kind.selectable)
            if stored(kind) != resource:
                return self[stored(kind)]
            found = self._open[resource] = cast(ResourceStore, self._backend.store(resource, kind.selectable))
        return found

    def custom(self, resource: Resource, selectable: Mapping[str, Callable[[Object], str]]) -> ResourceStore:
        """The store of a custom resource, opened when it is first asked for."""
        found = self._open.get(resource)
        if found is None:
            found = self._open[resource] = cast(ResourceStore, self._backend.store(resource, selectable, custom=True))
        return found

    def __iter__(self) -> Iterator[Resource]:
        return iter(dict.fromkeys(stored(kind) for kind in self._kinds.kinds if kind.handler is None))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def forget(self, resource: Resource) -> None:
        self._open.pop(resource, None)


def build(options: Options) -> Server:
    """Everything wired, nothing started but the caches. Call it on the event loop. Raises OSError or ValueError for bad options."""
    capabilities.allow_privileged = options.allow_privileged
    gated.features = options.gates
    tls = TLS(options.etcd_cafile, options.etcd_certfile, options.etcd_keyfile)
    encryption = Reloadable(options.encryption_provider_config) if options.encryption_provider_config else None
    backend = Backend.etcd(list(options.etcd_servers), tls=tls, prefix=options.etcd_prefix, transformer=encryption,
                           compaction_interval=options.etcd_compaction_interval)
    kinds = KindTable(served(options.runtime_config, options.gates))
    stores = Stores(backend, kinds)
    services = Services(stores, not_ready_toleration_seconds=options.default_not_ready_toleration_seconds,
                        unreachable_toleration_seconds=options.default_unreachable_toleration_seconds)
    if encryption is not None and options.encryption_provider_config_automatic_reload:
        services.files.follow("encryption configuration", [options.encryption_provider_config],
                              reloads("encryption_config", encryption.reload))
    services.kinds = kinds
    services.webhooks = Caller(services)
    tasks = Tasks("apiserver")
    security: Security = build_security(options, services, tasks)
    if options.admission_control_config_file:
        services.admission = load_admission(options.admission_control_config_file)
    chain = build_chain(services, options.enable_admission_plugins, options.disable_admission_plugins)
    server = Server(options, kinds, services, security.authenticator, security.impersonator, security.authorizer, chain, tasks)
    server.backend = backend
    server.stopping.append(services.webhooks.close)
    chain.start(tasks)
    server.auditor = build_auditor(options, services.clock, tasks)
    if server.auditor is not None:
        server.stopping.append(server.auditor.close)
    server.reservers[SERVICES] = _service_reserver(options, backend, services)
    for resource in stores:
        stores[resource]
    return server


def _service_reserver(options: Options, backend: Backend, services: Services) -> ServiceReserver:
    ranges = [Addresses(ipaddress.ip_network(text, strict=False), services.store(IP_ADDRESSES), services.clock)
              for text in options.service_cluster_ip_range.split(",")]
    ports = NodePorts(options.service_node_port_range, cast(ResourceStore, backend.store(NODE_PORTS)))
    return ServiceReserver(ranges, ports)
