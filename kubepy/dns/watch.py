"""Keeps the zone current: each change of a Service or one of its EndpointSlices recomputes that Service's records."""
from __future__ import annotations

from kubepy.api.resource import ENDPOINT_SLICES, NAMESPACES, SERVICES
from kubepy.api.service import SLICES, service_key, service_keys
from kubepy.api.types import Object
from kubepy.client.informer import InformerFactory
from kubepy.client.store import key_of
from kubepy.dns.record import service_records
from kubepy.dns.zone import Zone

OWN = "kube-system/kube-dns"
"""The Service of cluster DNS."""


class Feed:
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def register(self, factory: InformerFactory) -> None:
        self._services = factory.informer(SERVICES)
        self._slices = factory.informer(ENDPOINT_SLICES)
        self._slices.add_index(SLICES, service_keys)
        self._namespaces = namespaces = factory.informer(NAMESPACES)
        self._services.add_handler(self._service_changed, lambda _, new: self._service_changed(new), self._service_gone)
        self._slices.add_handler(self._slice_changed, self._slice_replaced, self._slice_changed)
        namespaces.add_handler(lambda obj: self._zone.set_namespace(obj["metadata"]["name"], True), None,
                               lambda obj: self._zone.set_namespace(obj["metadata"]["name"], False))

    def _service_changed(self, service: Object) -> None:
        key = key_of(service)
        self._zone.replace(key, service_records(service, self._slices.lister.by_index(SLICES, key), self._zone.domain))
        if key == OWN:
            spec = service.get("spec") or {}
            self._zone.set_server(spec.get("clusterIPs") or [spec.get("clusterIP") or ""])

    def _service_gone(self, service: Object) -> None:
        self._zone.replace(key_of(service), {})

    def _slice_changed(self, obj: Object) -> None:
        if (key := service_key(obj)) and (service := self._services.lister.by_key(key)) is not None:
            spec = service.get("spec") or {}
            if spec.get("clusterIP") in (None, "", "None"):  # only headless Services have names that depend on endpoints
                self._service_changed(service)

    def _slice_replaced(self, old: Object, new: Object) -> None:
        if service_key(old) != service_key(new):
            self._slice_changed(old)
        self._slice_changed(new)

    def settle(self) -> None:
        """Once everything was read: what an earlier process knew and is gone."""
        self._zone.keep_only({key_of(service) for service in self._services.lister.list()},
                             {namespace["metadata"]["name"] for namespace in self._namespaces.lister.list()})

    def servers(self) -> set[str]:
        """The nodes whose DNS is a ready endpoint of cluster DNS."""
        return {endpoint.get("nodeName") or "" for piece in self._slices.lister.by_index(SLICES, OWN)
                for endpoint in piece.get("endpoints") or () if (endpoint.get("conditions") or {}).get("ready") is not False}
