"""The `status.allocation` of a claim for the devices that were chosen."""
from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubepy.api.types import Object

if TYPE_CHECKING:
    from kubepy.scheduler.device.allocator import Chosen


def allocation(claim: Object, chosen: Sequence[Chosen], node: str) -> Object:
    results: list[Object] = []
    config: list[Object] = []
    paths: list[str] = []
    for one in chosen:
        driver, pool, name = one.device.id
        spec = one.device.spec
        results.append({
            "request": one.alternative.path, "driver": driver, "pool": pool, "device": name,
            **({"adminAccess": True} if one.alternative.admin else {}),
            **({"tolerations": list(one.alternative.tolerations)} if one.alternative.tolerations else {}),
            **{key: spec[key] for key in ("bindingConditions", "bindingFailureConditions") if spec.get(key)},
            **({"shareID": str(uuid.uuid4()), "consumedCapacity": {key: _shown(value) for key, value in one.consumed.items()}}
               if one.consumed is not None else {}),
        })
        if one.alternative.path not in paths:
            paths.append(one.alternative.path)
            config += [{"source": "FromClass", "requests": [one.alternative.path], **entry} for entry in one.alternative.configs]
    for entry in ((claim.get("spec") or {}).get("devices") or {}).get("config") or ():
        wanted = entry.get("requests") or ()
        if not wanted or any(path in wanted or path.partition("/")[0] in wanted for path in paths):
            config.append({"source": "FromClaim", **entry})
    found: Object = {"devices": {"results": results, **({"config": config} if config else {})}}
    where = _node_selector(chosen, node)
    if where is not None:
        found["nodeSelector"] = where
    return found


def _node_selector(chosen: Sequence[Chosen], node: str) -> Object | None:
    """Where the devices can be used: on this node if any is its own, else where every one of them is, or anywhere (None)."""
    terms: list[Object] = []
    for one in chosen:
        spec = one.device.spec if one.device.slice.get("perDeviceNodeSelection") else one.device.slice
        if spec.get("nodeName") or one.device.spec.get("bindsToNode"):
            return {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}
        for term in (spec.get("nodeSelector") or {}).get("nodeSelectorTerms") or ():
            if term not in terms:
                terms.append(term)
    if not terms:
        return None
    return {"nodeSelectorTerms": [{key: [item for term in terms for item in term.get(key) or ()]
                                   for key in ("matchExpressions", "matchFields") if any(term.get(key) for term in terms)}]}


def _shown(thousandths: int) -> str:
    """With the largest binary suffix that loses nothing."""
    whole, rest = divmod(thousandths, 1000)
    if rest:
        return f"{thousandths}m"
    for suffix in ("", "Ki", "Mi", "Gi", "Ti", "Pi"):
        if not whole or whole % 1024 or suffix == "Pi":
            return f"{whole}{suffix}"
        whole //= 1024
    return str(whole)
