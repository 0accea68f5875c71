"""The state of one address family, kept while Services and EndpointSlices change: only what changed is computed again."""
from __future__ import annotations

from collections.abc import Callable, Iterable

from kubepy.api.types import Object
from kubepy.proxy import conntrack
from kubepy.proxy.conntrack import Flows
from kubepy.proxy.model import Endpoint, Family, NodeInfo, PortName, State, service_ports, slice_endpoints


class StateCache:
    """`service` and `slices` look a Service up by its key (`namespace/name`)."""

    def __init__(self, family: Family, service: Callable[[str], Object | None], slices: Callable[[str], Iterable[Object]]) -> None:
        self.state = State(family)
        self._service, self._slices = service, slices
        self._names: dict[str, list[PortName]] = {}

    def set_node(self, node: NodeInfo, keys: Iterable[str]) -> list[Flows]:
        """The node has changed; endpoints are local or not by its name, so all of them are looked at again."""
        self.state.node = node
        return self.refresh(keys)

    def refresh(self, keys: Iterable[str]) -> list[Flows]:
        """Computes these Services again; returns the UDP flows that must not go on."""
        state = self.state
        flows: list[Flows] = []
        for key in keys:
            service = self._service(key)
            ports = service_ports(service, state.family) if service is not None else {}
            groups = slice_endpoints(self._slices(key), state.family, state.node.name) if ports else {}
            for name in self._names.get(key, ()):
                if name not in ports:
                    flows += conntrack.stale(state.services.pop(name), state.endpoints.pop(name, ()), ())
            for name, port in ports.items():
                found = groups.get((name.port, name.protocol))
                endpoints: tuple[Endpoint, ...] = tuple(found[where] for where in sorted(found)) if found else ()
                flows += conntrack.stale(state.services.get(name, port), state.endpoints.get(name, ()), endpoints)
                state.services[name] = port
                if endpoints:
                    state.endpoints[name] = endpoints
                else:
                    state.endpoints.pop(name, None)
            if ports:
                self._names[key] = list(ports)
            else:
                self._names.pop(key, None)
        return flows
