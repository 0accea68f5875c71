"""DenyServiceExternalIPs: services get no new external addresses, which would draw traffic that is not theirs. Off by default.

Source: `plugin/pkg/admission/serviceexternalips`."""
from __future__ import annotations

from kubepy.api.resource import SERVICES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.request import Attributes, Operation


class DenyServiceExternalIPs(Plugin):
    name = "DenyServiceExternalIPs"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, SERVICES) and subresource == "" and operation in ("CREATE", "UPDATE")

    async def admit_valid(self, attributes: Attributes) -> None:
        if set(_addresses(attributes.obj)) - set(_addresses(attributes.old)):
            raise refuse(attributes, "Use of external IPs is denied by admission control")


def _addresses(service: Object | None) -> list[str]:
    return list(((service or {}).get("spec") or {}).get("externalIPs") or ())
