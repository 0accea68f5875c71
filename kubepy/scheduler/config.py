"""`KubeSchedulerConfiguration` (kubescheduler.config.k8s.io/v1): profiles, plugins and their arguments.

Taken into account: profiles (schedulerName, plugins with enabled, disabled and weights, also under `multiPoint`, pluginConfig),
podInitialBackoffSeconds, podMaxBackoffSeconds, parallelism (concurrent bindings), leaderElection, clientConnection.kubeconfig.
percentageOfNodesToScore is accepted and has no effect: every node is always scored. Extenders are refused with an error.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points

import yaml

from kubepy.api.types import Object
from kubepy.scheduler.framework import Plugin, Profile, Weighted
from kubepy.scheduler.plugins import DEFAULT

API_VERSION = "kubescheduler.config.k8s.io/v1"
POINTS = ("preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore", "score", "reserve", "permit", "preBind", "bind",
          "postBind", "multiPoint")
PREEMPTION = "DefaultPreemption"
DYNAMIC_RESOURCES = "DynamicResources"


class ConfigError(ValueError):
    """A configuration that cannot be used; the text names the field."""


@dataclass(slots=True)
class Config:
    profiles: dict[str, Profile] = field(default_factory=dict)
    initial_backoff: float = 1.0
    max_backoff: float = 10.0
    parallelism: int = 16
    leader_election: Object = field(default_factory=dict)
    kubeconfig: str = ""


def load(text: str) -> Config:
    """From a file's text (YAML or JSON)."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError("not a KubeSchedulerConfiguration")
    return parse(found)


def parse(obj: Object) -> Config:
    if obj.get("kind") != "KubeSchedulerConfiguration" or obj.get("apiVersion") != API_VERSION:
        raise ConfigError(f"no kind \"{obj.get('kind')}\" is registered for version \"{obj.get('apiVersion')}\"; "
                          f"want KubeSchedulerConfiguration in {API_VERSION}")
    if obj.get("extenders"):
        raise ConfigError("extenders: not supported")
    initial, most = float(obj.get("podInitialBackoffSeconds") or 1), float(obj.get("podMaxBackoffSeconds") or 10)
    if most < initial:
        raise ConfigError("podMaxBackoffSeconds: must be greater than or equal to PodInitialBackoffSeconds")
    config = Config(
        initial_backoff=initial, max_backoff=most, parallelism=int(obj.get("parallelism") or 16),
        leader_election=obj.get("leaderElection") or {}, kubeconfig=(obj.get("clientConnection") or {}).get("kubeconfig") or "",
    )
    for position, entry in enumerate(obj.get("profiles") or ({},)):
        name = entry.get("schedulerName") or "default-scheduler"
        if name in config.profiles:
            raise ConfigError(f'profiles[{position}].schedulerName: Duplicate value: "{name}"')
        config.profiles[name] = make_profile(name, entry.get("plugins") or {}, entry.get("pluginConfig") or ())
    return config


def default() -> Config:
    return parse({"apiVersion": API_VERSION, "kind": "KubeSchedulerConfiguration"})


def registry() -> dict[str, type[Plugin]]:
    """Every plugin by name: the built-in ones and those installed packages offer as `kubepy.scheduler.plugins` entry points."""
    found = {plugin.name: plugin for plugin, _ in DEFAULT}
    for entry in entry_points(group="kubepy.scheduler.plugins"):
        found[entry.name] = entry.load()
    return found


def make_profile(name: str, plugins: Object, configs: Sequence[Object]) -> Profile:
    """The default plugins with what `plugins` switches off and on, in order: defaults first, then the added ones."""
    known = registry()
    for point in plugins:
        if point not in POINTS:
            raise ConfigError(f'plugins: unknown field "{point}"')
    args = {config["name"]: config.get("args") or {} for config in configs}
    weights = {plugin.name: weight for plugin, weight in DEFAULT}
    extra = {PREEMPTION, DYNAMIC_RESOURCES}
    off, on = _switches(plugins.get("multiPoint") or {})
    names = [n for n in weights if n not in off and "*" not in off]
    preemption = PREEMPTION not in off and "*" not in off
    for wanted, weight in on:
        preemption = preemption or wanted == PREEMPTION
        if wanted in extra:
            continue
        if wanted not in known:
            raise ConfigError(f'plugins.multiPoint: plugin "{wanted}" does not exist')
        if wanted not in names:
            names.append(wanted)
        weights[wanted] = weight or weights.get(wanted) or 1
    by_point: dict[str, list[str]] = {}
    for point, method in (("filter", "filter"), ("score", "score"), ("preEnqueue", "pre_enqueue"), ("queueSort", "sort_key")):
        off, on = _switches(plugins.get(point) or {})
        chosen = [n for n in names if overrides_type(known[n], method) and n not in off and "*" not in off]
        for wanted, weight in on:
            if wanted not in known:
                raise ConfigError(f'plugins.{point}: plugin "{wanted}" does not exist')
            if wanted not in chosen:
                chosen.append(wanted)
            if weight:
                weights[wanted] = weight
        by_point[point] = chosen
    off, on = _switches(plugins.get("postFilter") or {})
    preemption = (preemption and PREEMPTION not in off and "*" not in off) or any(n == PREEMPTION for n, _ in on)
    needed = list(dict.fromkeys([*names, *(n for chosen in by_point.values() for n in chosen)]))
    made: Mapping[str, Plugin] = {n: known[n](args.get(n)) for n in needed}
    if len(by_point["queueSort"]) != 1:
        raise ConfigError(f"plugins.queueSort: one plugin required, found {len(by_point['queueSort'])}")
    return Profile(
        name=name, plugins=list(made.values()), filters=[made[n] for n in by_point["filter"]],
        scores=[Weighted(made[n], weights.get(n) or 1) for n in by_point["score"]],
        pre_enqueue=[made[n] for n in by_point["preEnqueue"]], sort=made[by_point["queueSort"][0]],
        preemption=preemption,
    )


def overrides_type(plugin: type[Plugin], method: str) -> bool:
    return getattr(plugin, method) is not getattr(Plugin, method)


def _switches(part: Object) -> tuple[set[str], list[tuple[str, int]]]:
    off = {entry["name"] for entry in part.get("disabled") or ()}
    return off, [(entry["name"], int(entry.get("weight") or 0)) for entry in part.get("enabled") or ()]


