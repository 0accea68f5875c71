"""/metrics/resources: what each pod on the cluster requests and may use at most (upstream's `metrics/resources`), for those who plan
capacity. Pods that have ended count for nothing. Each scrape lists the pods: the scheduler itself keeps no limits."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from aiohttp import web

from kubepy.api.errors import ApiError
from kubepy.api.resource import PODS
from kubepy.api.scheduling import pod_limits, pod_requests
from kubepy.api.types import Object
from kubepy.base.metrics import CONTENT_TYPE
from kubepy.client.interface import Client
from kubepy.scheduler.watch import LIVING

_PAGE = 500
_METRICS = (
    ("kube_pod_resource_limit", "Resources limit for workloads on the cluster, broken down by pod. This shows the resource usage the "
     "scheduler and kubelet expect per pod for resources along with the unit for the resource if any.", pod_limits),
    ("kube_pod_resource_request", "Resources requested by workloads on the cluster, broken down by pod. This shows the resource usage the "
     "scheduler and kubelet expect per pod for resources along with the unit for the resource if any.", pod_requests),
)


def unit(resource: str) -> str:
    if resource == "cpu":
        return "cores"
    if resource in ("memory", "storage", "ephemeral-storage") or resource.startswith("hugepages-"):
        return "bytes"
    return "integer" if "/" in resource or resource.startswith("attachable-volumes-") else ""


def rows(pods: Iterable[Object]) -> dict[str, list[str]]:
    """The lines of each metric."""
    found: dict[str, list[str]] = {name: [] for name, _, _ in _METRICS}
    for pod in pods:
        metadata, spec = pod["metadata"], pod.get("spec") or {}
        labels = {"namespace": metadata.get("namespace", ""), "node": spec.get("nodeName", ""), "pod": metadata.get("name", ""),
                  "priority": "" if spec.get("priority") is None else str(spec["priority"])}
        scheduler = spec.get("schedulerName", "")
        for metric, _, total in _METRICS:
            for resource, value in sorted(total(pod).items()):
                if value:
                    shown = {**labels, "resource": resource, "scheduler": scheduler, "unit": unit(resource)}
                    text = ",".join(f'{key}="{label}"' for key, label in shown.items())  # names: nothing to escape
                    found[metric].append(f"{metric}{{{text}}} {value / 1000 if resource == 'cpu' else value}")
    return found


def render(found: dict[str, list[str]]) -> Iterator[str]:
    for name, text, _ in _METRICS:
        if found[name]:
            yield f"# HELP {name} [STABLE] {text}"
            yield f"# TYPE {name} gauge"
            yield from found[name]


async def collect(client: Client) -> str:
    found: dict[str, list[str]] = {name: [] for name, _, _ in _METRICS}
    token = ""
    while True:
        page = await client.list(PODS, field_selector=LIVING, limit=_PAGE, continue_token=token)
        for name, lines in rows(page["items"]).items():
            found[name] += lines
        token = page["metadata"].get("continue") or ""
        if not token:
            return "".join(f"{line}\n" for line in render(found))


def handler(clients: Sequence[Client]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """`clients` gets its one item when the process has connected."""
    async def answer(request: web.Request) -> web.StreamResponse:
        if not clients:
            return web.Response(status=503, text="not connected yet\n")
        try:
            text = await collect(clients[0])
        except (ApiError, ConnectionError) as error:
            return web.Response(status=500, text=f"{error}\n")
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    return answer
