"""Extenders: schedulers of one's own behind HTTP, asked to filter, prioritise, preempt or bind (`pkg/scheduler/extender.go`).

`Extender` is one entry of the configuration's `extenders`; every call is a POST of JSON to `urlPrefix/verb`. Values are upstream's
`k8s.io/kube-scheduler/extender/v1`. A call that fails refuses the pod with an error, unless the extender is `ignorable`.
"""
from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from kubepy.api.types import Object
from kubepy.base.flag import duration
from kubepy.scheduler.framework import MAX_SCORE, NotBound, Reason
from kubepy.scheduler.pod import Pod

MAX_PRIORITY = 10
"""What an extender's own scores go up to."""
LIMIT = 64 * 1024 * 1024
"""Bytes of an answer."""


class ExtenderError(NotBound):
    """A call failed, or the extender reports an error."""


@dataclass(slots=True)
class Filtered:
    """The nodes that are left, and why others are not."""

    names: frozenset[str]
    refused: dict[str, Reason]


@dataclass(slots=True)
class Extender:
    """`verbs`: filter, prioritize, preempt, bind -> the path below `prefix`."""

    prefix: str
    verbs: Mapping[str, str]
    weight: int = 1
    timeout: float = 5.0
    cache_capable: bool = False
    ignorable: bool = False
    managed: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    """Managed resources that NodeResourcesFit leaves to the extender."""
    tls: Mapping[str, Any] = field(default_factory=dict)
    secure: bool = False
    node_of: Callable[[str], Object | None] = field(default=lambda name: None)
    """A node's object by name; what extenders without a cache of their own are sent."""
    _session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        return self.prefix

    @property
    def filters(self) -> bool:
        return bool(self.verbs.get("filter"))

    @property
    def prioritizes(self) -> bool:
        return bool(self.verbs.get("prioritize"))

    @property
    def preempts(self) -> bool:
        return bool(self.verbs.get("preempt"))

    @property
    def binds(self) -> bool:
        return bool(self.verbs.get("bind"))

    def is_interested(self, pod: Pod) -> bool:
        """Whether the pod asks for a resource the extender manages; one that manages none in particular is asked about every pod."""
        return not self.managed or not self.managed.isdisjoint(pod.requests.keys())

    # --- the four verbs ---

    async def filter(self, pod: Pod, names: Sequence[str]) -> Filtered:
        answer = await self._post("filter", self._args(pod, names))
        _raise(answer)
        if self.cache_capable and answer.get("nodenames") is not None:
            left = frozenset(answer["nodenames"])
            if not left <= set(names):
                raise ExtenderError(f'extender "{self.name}" claims a filtered node "{min(left - set(names))}" which is not found in '
                                    "the input node list")
        elif answer.get("nodes") is not None:
            left = frozenset(node["metadata"]["name"] for node in answer["nodes"].get("items") or ())
        else:
            left = frozenset()
        refused = {name: Reason(text, True) for name, text in (answer.get("failedNodes") or {}).items()}
        refused.update({name: Reason(text, False) for name, text in (answer.get("failedAndUnresolvableNodes") or {}).items()})
        return Filtered(left, refused)

    async def prioritize(self, pod: Pod, names: Sequence[str]) -> dict[str, float]:
        """What the extender adds to nodes' scores."""
        answer = await self._post("prioritize", self._args(pod, names))
        scale = self.weight * MAX_SCORE / MAX_PRIORITY
        return {entry["host"]: float(entry.get("score") or 0) * scale for entry in answer or ()}

    async def preempt(self, pod: Pod, victims: Mapping[str, tuple[Sequence[Object], int]]) -> dict[str, tuple[list[str], int]]:
        """`victims`: node -> (pods, violated budgets). Returns the nodes left, with the UIDs of the pods that have to go."""
        if self.cache_capable:
            key, shown = "nodeNameToMetaVictims", {name: {"pods": [{"uid": victim["metadata"]["uid"]} for victim in pods],
                                                          "numPDBViolations": count} for name, (pods, count) in victims.items()}
        else:
            key, shown = "nodeNameToVictims", {name: {"pods": list(pods), "numPDBViolations": count}
                                               for name, (pods, count) in victims.items()}
        answer = await self._post("preempt", {"pod": pod.raw, key: shown})
        return {name: ([victim["uid"] for victim in entry.get("pods") or ()], int(entry.get("numPDBViolations") or 0))
                for name, entry in (answer.get("nodeNameToMetaVictims") or {}).items()}

    async def bind(self, pod: Pod, node: str) -> None:
        _raise(await self._post("bind", {"podName": pod.name, "podNamespace": pod.namespace, "podUID": pod.uid, "node": node}))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- the wire ---

    def _args(self, pod: Pod, names: Sequence[str]) -> Object:
        if self.cache_capable:
            return {"pod": pod.raw, "nodenames": list(names)}
        nodes = [node for name in names if (node := self.node_of(name)) is not None]
        return {"pod": pod.raw, "nodes": {"metadata": {}, "items": nodes}}

    async def _post(self, verb: str, body: Object) -> Any:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=tls_context(self.tls)) if self.secure else aiohttp.TCPConnector()
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=self.timeout))
        url = f"{self.prefix.rstrip('/')}/{self.verbs[verb]}"
        try:
            async with self._session.post(url, data=orjson.dumps(body), headers={"Content-Type": "application/json"}) as answer:
                if answer.status != 200:
                    raise ExtenderError(f"failed {self.verbs[verb]} with extender at URL {url}, code {answer.status}")
                found = await answer.content.read(LIMIT)
                return orjson.loads(found)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ExtenderError(f'Post "{url}": {error or type(error).__name__}') from error
        except orjson.JSONDecodeError as error:
            raise ExtenderError(f"extender at URL {url} answered no JSON: {error}") from error


def _raise(answer: Any) -> None:
    if not isinstance(answer, dict):
        raise ExtenderError("the extender's answer is no object")
    if answer.get("error"):
        raise ExtenderError(str(answer["error"]))


def tls_context(config: Mapping[str, Any]) -> ssl.SSLContext:
    """`tlsConfig` of an extender: files or base64 data; raises OSError or ValueError."""
    authority = _text(config, "caFile", "caData")
    context = ssl.create_default_context(cadata=authority or None)
    if config.get("insecure"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _text(config, "certFile", "certData"), _text(config, "keyFile", "keyData")
    if certificate:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:  # the library reads key pairs from files only
            pair.write(f"{certificate}\n{key}")
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def _text(config: Mapping[str, Any], file: str, data: str) -> str:
    if config.get(data):
        return base64.b64decode(config[data]).decode()
    if config.get(file):
        with open(config[file]) as source:
            return source.read()
    return ""


def parse_extender(entry: Object, position: int) -> Extender:
    """One entry of the configuration; raises ValueError with the field's path."""
    path = f"extenders[{position}]"
    prefix = entry.get("urlPrefix") or ""
    if not prefix:
        raise ValueError(f"{path}.urlPrefix: Required value")
    verbs = {verb: entry[f"{verb}Verb"] for verb in ("filter", "prioritize", "preempt", "bind") if entry.get(f"{verb}Verb")}
    weight = int(entry.get("weight") or (0 if "prioritize" in verbs else 1))
    if "prioritize" in verbs and weight <= 0:
        raise ValueError(f"{path}.weight: Invalid value: {weight}: must have a positive weight applied to it")
    managed = entry.get("managedResources") or []
    names = [resource.get("name") or "" for resource in managed]
    if len(set(names)) != len(names):
        raise ValueError(f"{path}.managedResources: Invalid value: duplicate extender managed resource name")
    tls = entry.get("tlsConfig") or {}
    secure = bool(entry.get("enableHTTPS")) or prefix.startswith("https://")
    return Extender(prefix, verbs, weight, seconds(entry.get("httpTimeout") or "5s"), bool(entry.get("nodeCacheCapable")),
                    bool(entry.get("ignorable")), frozenset(names),
                    frozenset(resource["name"] for resource in managed if resource.get("ignoredByScheduler")), tls, secure)


def seconds(text: str | int | float) -> float:
    """A Go duration (`1m30s`, `500ms`); plain numbers are nanoseconds."""
    return float(text) / 1e9 if isinstance(text, (int, float)) else duration(text)


def interested(extenders: Iterable[Extender], pod: Pod) -> list[Extender]:
    return [extender for extender in extenders if extender.is_interested(pod)]
