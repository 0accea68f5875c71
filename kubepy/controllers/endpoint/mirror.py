"""EndpointSlices for Endpoints made by hand (`pkg/controller/endpointslicemirroring`): services without a selector.

One slice for each family and set of ports, at most 1,000 addresses of a subset.
"""
from __future__ import annotations

import ipaddress

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from kubepy.api.service import SERVICE_LABEL, SLICES, service_keys
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.endpoint.pending import PendingWrites
from kubepy.controllers.endpoint.slice import MANAGED_BY, Group, plan
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.pod_control import is_namespace_terminating

NAME = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
MAXIMUM = 1000


def is_mirrored(endpoints: Object | None, service: Object | None) -> bool:
    if endpoints is None or service is None or service["spec"].get("selector"):
        return False
    metadata = endpoints["metadata"]
    return ((metadata.get("labels") or {}).get(SKIP) != "true" and LEADER not in (metadata.get("annotations") or {})
            and metadata.get("deletionTimestamp") is None)


def groups(endpoints: Object, most: int = MAXIMUM) -> list[Group]:
    found: list[Group] = []
    for subset in endpoints.get("subsets") or ():
        ports = [{key: item[key] for key in ("name", "port", "protocol", "appProtocol") if key in item} | {"name": item.get("name", "")}
                 for item in subset.get("ports") or ()]
        by_family: dict[str, Group] = {}
        entries = [(item, True) for item in subset.get("addresses") or ()]
        entries += [(item, False) for item in subset.get("notReadyAddresses") or ()]
        for address, ready in entries[:most]:
            family = "IPv6" if ipaddress.ip_address(address["ip"]).version == 6 else "IPv4"
            endpoint: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
            for name in ("hostname", "nodeName", "targetRef"):
                if address.get(name):
                    endpoint[name] = address[name]
            by_family.setdefault(family, Group(family, ports)).endpoints.append(endpoint)
        found += by_family.values()
    return found


def template(endpoints: Object) -> Object:
    metadata = endpoints["metadata"]
    skipped = ("kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time")
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"generateName": f"{metadata['name']}-", "namespace": metadata["namespace"],
                     "labels": {**(metadata.get("labels") or {}), MANAGED_BY: NAME, SERVICE_LABEL: metadata["name"]},
                     "annotations": {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in skipped},
                     "ownerReferences": [{"apiVersion": "v1", "kind": "Endpoints", "name": metadata["name"], "uid": metadata["uid"],
                                          "controller": True, "blockOwnerDeletion": True}]}}


def controller(env: Environment) -> Controller:
    client = env.client_for("endpointslicemirroring-controller")
    services = env.informers.informer(SERVICES).lister
    cache = env.informers.informer(ENDPOINTS).lister
    slices = env.informers.informer(ENDPOINT_SLICES).lister
    slices.add_index(SLICES, service_keys)
    pending = PendingWrites(slices, env.clock)

    async def reconcile(key: str) -> float | None:
        namespace, name = split_key(key)
        endpoints = cache.get(name, namespace)
        if not pending.seen(key):
            return 0.2
        existing = [item for item in slices.by_index(SLICES, key) if item["metadata"]["labels"].get(MANAGED_BY) == NAME]
        if endpoints is None or not is_mirrored(endpoints, services.get(name, namespace)):
            todo_delete, todo_create, todo_update = existing, [], []
        else:
            todo = plan(groups(endpoints, env.options.mirroring_max_endpoints), existing, template(endpoints), [], MAXIMUM)
            todo_delete, todo_create, todo_update = todo.delete, todo.create, todo.update
        try:
            for item in todo_create:
                pending.wrote(key, await client.create(ENDPOINT_SLICES, item))
            for item in todo_update:
                pending.wrote(key, await client.update(ENDPOINT_SLICES, item))
            for item in todo_delete:
                await client.delete(ENDPOINT_SLICES, item["metadata"]["name"], item["metadata"]["namespace"])
        except NotFound:
            return 1.0
        except ApiError as error:
            if not is_namespace_terminating(error):
                raise
        return None

    watches = (Watch(ENDPOINTS, delay=env.options.mirroring_batch_period), Watch(SERVICES),
               Watch(ENDPOINT_SLICES, keys=service_keys,
                     when=lambda old, new: ((new or old or {})["metadata"].get("labels") or {}).get(MANAGED_BY) == NAME))
    return Controller("endpoint_slice_mirroring", reconcile, watches, workers=env.options.concurrency("mirroring", 5))
