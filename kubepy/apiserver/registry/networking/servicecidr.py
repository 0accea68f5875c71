"""ServiceCIDR: a range that cluster addresses of Services come from (`pkg/registry/networking/servicecidr`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.registry.networking.canonical import canonical_range
from kubepy.apiserver.request import Context

_CIDRS = Path("spec.cidrs")


class ServiceCIDRStrategy(Strategy):
    has_status = True
    status_keeps_metadata = True

    def validate(self, context: Context, obj: Object) -> Errors:
        cidrs = at(obj, "spec.cidrs", [])
        if not cidrs:
            return [field.required(_CIDRS, "at least one CIDR required")]
        if len(cidrs) > 2:
            return [field.invalid(_CIDRS, {"CIDRs": cidrs}, "may only hold up to 2 values")]
        errors = [error for position, cidr in enumerate(cidrs) for error in canonical_range(cidr, _CIDRS.index(position))]
        if not errors and len(cidrs) == 2 and (":" in cidrs[0]) == (":" in cidrs[1]):
            errors.append(field.invalid(_CIDRS, cidrs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and "
                                                       "2001:db8::/64"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = at(obj, "spec.cidrs", []), at(old, "spec.cidrs", [])
        if new == before:
            return []
        if len(before) == 1 and len(new) == 2:
            changed = [] if new[0] == before[0] else [field.invalid(_CIDRS.index(0), new[0], "field is immutable")]
            return changed + self.validate(context, obj)
        if len(before) == len(new):
            return [field.invalid(_CIDRS.index(position), cidr, "field is immutable") for position, cidr in enumerate(new)
                    if cidr != before[position]]
        return [field.invalid(_CIDRS, new, "field is immutable")]


KIND = Kind(
    Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", False),
    "servicecidr",
    ServiceCIDRStrategy(),
    columns=(NAME, column("CIDRs", "string", "=networking.v1.ServiceCIDRSpec.cidrs", lambda obj: ",".join(at(obj, "spec.cidrs", []))), AGE),
    subresources=(STATUS,),
)
