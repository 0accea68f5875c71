"""Where a node's kubelet is reached, and with which credentials (`pkg/kubelet/client`)."""
from __future__ import annotations

import ssl
from collections.abc import Sequence

from kubepy.api.errors import ApiError
from kubepy.api.resource import NODES
from kubepy.api.types import Object
from kubepy.apiserver.options import Options
from kubepy.apiserver.services import Services
from kubepy.apiserver.stream.dial import Target
from kubepy.base.watched import Stamp, stamp

KUBELET_PORT = 10250


class Kubelets:
    """Targets of kubelets: TLS with the API server's client certificate, verified where a CA was given."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._context: ssl.SSLContext | None = None
        self._stamps: tuple[Stamp, ...] = ()

    @property
    def context(self) -> ssl.SSLContext:
        """Made again when a file has changed. Raises ApiError 500 when they cannot be read."""
        options = self._options
        stamps = tuple(map(stamp, (options.kubelet_certificate_authority, options.kubelet_client_certificate, options.kubelet_client_key)))
        if self._context is None or stamps != self._stamps:
            try:
                context = ssl.create_default_context(cafile=options.kubelet_certificate_authority or None)
                if not options.kubelet_certificate_authority:
                    # As upstream: without --kubelet-certificate-authority the kubelet's certificate is not checked.
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                if options.kubelet_client_certificate:
                    context.load_cert_chain(options.kubelet_client_certificate, options.kubelet_client_key)
            except OSError as error:
                if self._context is None:  # half-written files: the old ones still serve
                    raise ApiError(f"the kubelet client's certificate files cannot be read: {error}", reason="") from error
                return self._context
            self._context, self._stamps = context, stamps
        return self._context

    async def target(self, services: Services, node_name: str, path: str, port: int | None = None) -> Target:
        """Raises NotFound for an unknown node and ApiError 500 for one without addresses."""
        node = (await services.store(NODES).get("", node_name, resource_version="0")).decode()
        host = preferred_address(node, self._options.kubelet_preferred_address_types)
        return Target(host, port or kubelet_port(node), self.context, path)


def kubelet_port(node: Object) -> int:
    endpoint = node.get("status", {}).get("daemonEndpoints", {}).get("kubeletEndpoint", {})
    return int(endpoint.get("Port") or KUBELET_PORT)


def preferred_address(node: Object, types: Sequence[str]) -> str:
    """The first address of the first type the node has."""
    addresses = node.get("status", {}).get("addresses", [])
    for kind in types:
        for address in addresses:
            if address["type"] == kind and address["address"]:
                return str(address["address"])
    known = " ".join(f"{{{address['type']} {address['address']}}}" for address in addresses)
    raise ApiError(f"no preferred addresses found; known addresses: [{known}]", reason="")
