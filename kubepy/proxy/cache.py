"""The state of one address family, kept while Services and EndpointSlices change: only what changed is computed again."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from kubepy.api.types import Object
from kubepy.proxy.conntrack import Fronts, fronts
from kubepy.proxy.endpoint import serving
from kubepy.proxy.model import Endpoint, Family, NodeInfo, PortName, ServicePort, State, service_ports, slice_endpoints

Policy = Literal["internal", "external"]


class StateCache:
    """`service` and `slices` look a Service up by its key (`namespace/name`)."""

    def __init__(self, family: Family, service: Callable[[str], Object | None], slices: Callable[[str], Iterable[Object]]) -> None:
        self.state = State(family)
        self._service, self._slices = service, slices
        self._names: dict[str, list[PortName]] = {}
        self._fronts: dict[PortName, Fronts] = {}
        """Of UDP ports."""
        self.without_local: dict[Policy, set[PortName]] = {"internal": set(), "external": set()}
        """Ports that keep traffic to this node, which has no endpoint, while others have."""

    def set_node(self, node: NodeInfo, keys: Iterable[str]) -> Fronts:
        """The node has changed; endpoints are local or not by its name, so all of them are looked at again."""
        self.state.node = node
        return self.refresh(keys)

    def refresh(self, keys: Iterable[str]) -> Fronts:
        """Computes these Services again; returns where UDP may go on, where that has changed: for all ports, as an entry is judged by the
        one that fits it best."""
        state = self.state
        before: list[Fronts] = []
        for key in keys:
            service = self._service(key)
            ports = service_ports(service, state.family) if service is not None else {}
            groups = slice_endpoints(self._slices(key), state.family, state.node.name) if ports else {}
            for name in self._names.get(key, ()):
                if name not in ports:
                    del state.services[name]
                    state.endpoints.pop(name, None)
                    self._note_local(name, None, ())
                    if name in self._fronts:
                        before.append(self._fronts.pop(name))
            for name, port in ports.items():
                found = groups.get((name.port, name.protocol))
                endpoints: tuple[Endpoint, ...] = tuple(found[where] for where in sorted(found)) if found else ()
                state.services[name] = port
                if endpoints:
                    state.endpoints[name] = endpoints
                else:
                    state.endpoints.pop(name, None)
                self._note_local(name, port, endpoints)
                if (now := fronts(port, endpoints)) and now != self._fronts.get(name):
                    before.append(self._fronts.get(name, {}))
                    self._fronts[name] = now
            if ports:
                self._names[key] = list(ports)
            else:
                self._names.pop(key, None)
        if not before:
            return {}
        merged: Fronts = {front: frozenset() for one in before for front in one}
        for one in self._fronts.values():
            for front, targets in one.items():
                merged[front] = merged.get(front, frozenset()) | targets
        return merged

    def _note_local(self, name: PortName, port: ServicePort | None, endpoints: tuple[Endpoint, ...]) -> None:
        used: dict[Policy, bool] = {"internal": bool(port and port.internal_local), "external": bool(port and port.external_local)}
        lost = False
        if port is not None and any(used.values()):
            ends = serving(endpoints, port, self.state.node)
            lost = ends.any and not ends.local
        for policy, names in self.without_local.items():
            if lost and used[policy]:
                names.add(name)
            else:
                names.discard(name)
