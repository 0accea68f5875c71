"""Reading the metrics APIs: `metrics.k8s.io`, `custom.metrics.k8s.io`, `external.metrics.k8s.io`. All values are thousandths."""
from __future__ import annotations

from urllib.parse import quote, urlencode

import orjson

from kubepy.api.errors import ApiError
from kubepy.api.quantity import milli_value_of
from kubepy.api.types import Object
from kubepy.base.clock import parse_time
from kubepy.base.flag import duration
from kubepy.client.interface import Client
from kubepy.controllers.autoscale.replica import CannotCalculate, Sample

CUSTOM = "/apis/custom.metrics.k8s.io"
UNFETCHED = "unable to fetch metrics from custom metrics API: "


def at(namespace: str, about: Object, name: str) -> str:
    """How a failure to get another object's metric begins (the words are in upstream's order)."""
    return f"unable to get metric {name}: {about['kind']} on {namespace} {about['name']}/"


class Metrics:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def of_pods(self, namespace: str, selector: str, resource: str, container: str = "") -> dict[str, Sample]:
        """A resource's use by pod; a pod of which a container has no value is left out."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
        try:
            items = (await self._get(path, labelSelector=selector)).get("items") or ()
        except (ApiError, ConnectionError) as error:
            raise CannotCalculate(f"unable to get metrics for resource {resource}: unable to fetch metrics from resource metrics API: "
                                  f"{error} (get pods.metrics.k8s.io)") from error
        if not items:
            raise CannotCalculate(f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API")
        found = {}
        for item in items:
            values = {part["name"]: (part.get("usage") or {}).get(resource) for part in item["containers"]}
            if container and container not in values:
                raise CannotCalculate(f"unable to get metrics for resource {resource}: container {container} not present in metrics "
                                      f"for pod {namespace}/{item['metadata']['name']}")
            wanted = [values[container]] if container else list(values.values())
            if wanted and all(value is not None for value in wanted):
                found[item["metadata"]["name"]] = Sample(
                    sum(milli_value_of(value) for value in wanted), parse_time(item["timestamp"]), duration(item["window"]))
        return found

    async def custom_of_pods(self, namespace: str, selector: str, name: str, metric_selector: str) -> dict[str, Sample]:
        items = await self._custom(f"unable to get metric {name}: ", f"/namespaces/{namespace}/pods/{quote('*')}/{quote(name, safe='')}",
                                   labelSelector=selector, metricLabelSelector=metric_selector)
        return {item["describedObject"]["name"]: Sample(
            milli_value_of(item["value"]), parse_time(item["timestamp"]), float(item.get("windowSeconds") or 60)) for item in items}

    async def custom_of_object(self, namespace: str, resource: str, about: Object, name: str, metric_selector: str) -> int:
        """`resource` is the described object's `plural.group`; a namespace describes itself."""
        whole = quote(name, safe="")
        path = (f"/namespaces/{about['name']}/metrics/{whole}" if about["kind"] == "Namespace" and not resource.partition(".")[2]
                else f"/namespaces/{namespace}/{resource}/{quote(about['name'], safe='')}/{whole}")
        items = await self._custom(at(namespace, about, name), path, metricLabelSelector=metric_selector)
        return milli_value_of(items[0]["value"])

    async def external(self, namespace: str, name: str, selector: str, shown: str) -> int:
        """The sum of the metric's values."""
        prefix = f"unable to get external metric {namespace}/{name}/{shown}: "
        try:
            found = await self._get(f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{quote(name, safe='')}",
                                    labelSelector=selector)
        except (ApiError, ConnectionError) as error:
            raise CannotCalculate(f"{prefix}unable to fetch metrics from external metrics API: {error}") from error
        if not found.get("items"):
            raise CannotCalculate(f"{prefix}no metrics returned from external metrics API")
        return sum(milli_value_of(item["value"]) for item in found["items"])

    async def _custom(self, prefix: str, path: str, **query: str) -> list[Object]:
        """From v1beta2, or v1beta1 where the adapter has no other; never none. `prefix` begins the message of what fails."""
        try:
            versions = [item["version"] for item in (await self._get(CUSTOM)).get("versions") or ()]
            version = "v1beta1" if "v1beta2" not in versions and "v1beta1" in versions else "v1beta2"
            items: list[Object] = (await self._get(f"{CUSTOM}/{version}{path}", **query)).get("items") or []
        except (ApiError, ConnectionError) as error:
            raise CannotCalculate(f"{prefix}{UNFETCHED}{error}") from error
        if not items:
            raise CannotCalculate(f"{prefix}no metrics returned from custom metrics API")
        return items

    async def _get(self, path: str, **query: str) -> Object:
        given = {key: value for key, value in query.items() if value}
        found: Object = orjson.loads(await self._client.raw("GET", f"{path}?{urlencode(given)}" if given else path))
        return found
