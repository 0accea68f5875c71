"""Eviction by device taint (`pkg/controller/devicetainteviction`): pods leave devices that get a NoExecute taint they do not tolerate.

Taints are those that drivers publish in ResourceSlices and, with the feature DRADeviceTaintRules, those that administrators put on devices
by DeviceTaintRules; what is tolerated stands in the allocation of the claim, and for how long counts from when the taint was added.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from kubepy.api.pod import is_active, node_name
from kubepy.api.resource import DEVICE_TAINT_RULES, PODS, RESOURCE_CLAIMS, RESOURCE_SLICES
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter, histogram
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.devicetaintrule import Use, applies, evicts, plan
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.eviction import evict, leave_at
from kubepy.controllers.resourceclaim import claim_names

RULE = "rule:"
"""What the keys of rules begin with; those of pods have no colon."""
STATUS_SECONDS = 1.0
"""Changes of pods within this time are told together."""
ACCOUNT = "device-taint-eviction-controller"
EVICTED = counter("device_taint_eviction_controller_pod_deletions_total",
                  "Total number of Pods deleted by DeviceTaintEvictionController since its start.")
LATENCY = histogram("device_taint_eviction_controller_pod_deletion_duration_seconds",
                    "Latency, in seconds, between the time when a device taint effect has been activated and a Pod's deletion via "
                    "DeviceTaintEvictionController.", (), (0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 60, 120, 180, 240))
log = get_logger("devicetainteviction")


def evict_at(results: Iterable[Object], taints: dict[tuple[str, str, str], Sequence[Object]], rules: Sequence[Object] = (),
             ) -> float | None:
    """When the users of the allocated devices must go, in epoch seconds (0: now); None for never. `taints` by driver, pool, device."""
    moments = []
    for result in results:
        found = [*taints.get((result["driver"], result["pool"], result["device"]), ()),
                 *(rule["spec"]["taint"] for rule in rules if rule["spec"]["taint"]["effect"] == "NoExecute" and applies(rule, result))]
        moments.append(leave_at(result.get("tolerations") or (), found))
    return min((moment for moment in moments if moment is not None), default=None)


def no_execute(slices: Iterable[Object]) -> dict[tuple[str, str, str], Sequence[Object]]:
    """The taints that evict, by device; of each pool only the newest generation counts."""
    newest: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, str, str], Sequence[Object]] = {}
    listed = [(item["spec"], (item["spec"]["driver"], item["spec"]["pool"]["name"])) for item in slices]
    for spec, pool in listed:
        newest[pool] = max(newest.get(pool, 0), spec["pool"].get("generation") or 0)
    for spec, pool in listed:
        if (spec["pool"].get("generation") or 0) < newest[pool]:
            continue
        for device in spec.get("devices") or ():
            if taints := [taint for taint in device.get("taints") or () if taint["effect"] == "NoExecute"]:
                found[(*pool, device["name"])] = taints
    return found


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._clock = env.clock
        self._client = env.client_for(ACCOUNT)
        self._recorder = env.recorder(ACCOUNT, ACCOUNT)
        self._pods = env.informers.informer(PODS).lister
        self._claims = env.informers.informer(RESOURCE_CLAIMS).lister
        self._slices = env.informers.informer(RESOURCE_SLICES).lister
        self._ruled = env.options.gates.enabled("DRADeviceTaintRules")
        self._rules = env.informers.informer(DEVICE_TAINT_RULES).lister if self._ruled else None
        self._evicted: Counter[str] = Counter()
        """Pods that have gone, by the UID of the rule."""
        self._taints: dict[tuple[str, str, str], Sequence[Object]] | None = None
        self._planned: set[str] = set()

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(RULE):
            return await self._tell(key.removeprefix(RULE))
        namespace, name = split_key(key)
        pod = self._pods.get(name, namespace)
        if pod is None or not is_active(pod) or not node_name(pod):
            self._planned.discard(key)
            return None
        moment = evict_at(self._devices(pod), self.taints(), self.rules())
        if moment is None:
            if key in self._planned:
                self._planned.discard(key)
                self._recorder.event(pod, "Normal", "DeviceTaintManagerEviction", "Cancelling deletion")
            return None
        wait = moment - self._clock.now()
        if wait > 0:
            self._planned.add(key)
            return wait
        self._planned.discard(key)
        self._recorder.event(pod, "Normal", "DeviceTaintManagerEviction", "Marking for deletion")
        await self._evict(pod, moment)
        return None

    def rules(self) -> list[Object]:
        return self._rules.list() if self._rules is not None else []

    async def _tell(self, name: str) -> float | None:
        """Brings the status of a rule up to date."""
        rule = self._rules.get(name) if self._rules is not None else None
        if rule is None:
            return None
        uses = [Use(pod["metadata"]["namespace"], pod["metadata"]["name"], devices) for pod in self._pods.list()
                if pod["spec"].get("resourceClaims") and is_active(pod) and node_name(pod) and (devices := self._devices(pod))]
        published = ((item["spec"]["driver"], item["spec"]["pool"]["name"], device["name"]) for item in self._slices.list()
                     for device in item["spec"].get("devices") or ())
        status = plan(rule, uses, published, self._evicted[rule["metadata"]["uid"]], format_time(self._clock.now()))
        if status is not None:
            await self._client.update(DEVICE_TAINT_RULES, {**rule, "status": status}, subresource="status")
        return None

    def taints(self) -> dict[tuple[str, str, str], Sequence[Object]]:
        if self._taints is None:
            self._taints = no_execute(self._slices.list())
        return self._taints

    def _devices(self, pod: Object) -> list[Object]:
        """What is allocated to the claims that are reserved for the pod."""
        found: list[Object] = []
        for name in sorted(claim_names(pod)):
            status = (self._claims.get(name, pod["metadata"]["namespace"]) or {}).get("status") or {}
            if any(item["uid"] == pod["metadata"]["uid"] for item in status.get("reservedFor") or ()):
                found += ((status.get("allocation") or {}).get("devices") or {}).get("results") or ()
        return found

    async def _evict(self, pod: Object, due: float) -> None:
        if not await evict(self._client, pod, "DeletionByDeviceTaintManager",
                           "Device Taint manager: deleting due to NoExecute taint", self._clock.now()):
            return
        EVICTED.inc()
        devices = self._devices(pod)
        self._evicted.update(rule["metadata"]["uid"] for rule in self.rules()
                             if rule["spec"]["taint"]["effect"] == "NoExecute" and evicts(rule, devices))
        LATENCY.observe(max(self._clock.now() - due, 0.0) if due else 0.0)
        log.info("Pod evicted by device taint", pod=key_of(pod), node=node_name(pod))

    def forget_taints(self, old: Object | None, new: Object | None) -> None:
        self._taints = None

    def users_of_claim(self, claim: Object) -> list[str]:
        namespace = claim["metadata"]["namespace"]
        return [f"{namespace}/{item['name']}" for item in (claim.get("status") or {}).get("reservedFor") or ()
                if item.get("resource") == "pods"]

    def users_of_slice(self, item: Object) -> list[str]:
        pool = item["spec"]["driver"], item["spec"]["pool"]["name"]
        return [key for claim in self._claims.list() for key in self.users_of_claim(claim)
                if any((result["driver"], result["pool"]) == pool for result in _results(claim))]


    def told_of_rule(self, rule: Object) -> list[str]:
        """The rule itself, and who uses what it is about."""
        return [RULE + rule["metadata"]["name"], *(key for claim in self._claims.list() for key in self.users_of_claim(claim)
                                                   if any(applies(rule, result) for result in _results(claim)))]

    def all_rules(self, obj: Object) -> list[str]:
        return [RULE + rule["metadata"]["name"] for rule in self.rules()]


def _results(claim: Object) -> Sequence[Object]:
    found: Sequence[Object] = (((claim.get("status") or {}).get("allocation") or {}).get("devices") or {}).get("results") or ()
    return found


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)

    def uses_claims(old: Object | None, new: Object | None) -> bool:
        pod = new or old
        return pod is not None and bool(pod["spec"].get("resourceClaims"))

    watches = [Watch(PODS, when=uses_claims), Watch(RESOURCE_CLAIMS, keys=reconciler.users_of_claim),
               Watch(RESOURCE_SLICES, keys=reconciler.users_of_slice, observe=reconciler.forget_taints)]
    if env.options.gates.enabled("DRADeviceTaintRules"):
        watches += [Watch(DEVICE_TAINT_RULES, keys=reconciler.told_of_rule),
                    Watch(PODS, keys=reconciler.all_rules, when=uses_claims, delay=STATUS_SECONDS),
                    Watch(RESOURCE_CLAIMS, keys=reconciler.all_rules, delay=STATUS_SECONDS)]
    return Controller("device_taint_eviction", reconciler.reconcile, tuple(watches),
                      workers=env.options.concurrency("device-taint-eviction", 8))
