"""`KubeSchedulerConfiguration` (kubescheduler.config.k8s.io/v1): profiles, plugins and their arguments.

Taken into account: profiles (schedulerName, plugins with enabled, disabled and weights, also under `multiPoint`, pluginConfig),
podInitialBackoffSeconds, podMaxBackoffSeconds, parallelism (concurrent bindings), leaderElection, clientConnection.kubeconfig, extenders.
percentageOfNodesToScore is accepted and has no effect: every node is always scored.

Plugins of an extension point run in upstream's order: those that the point itself lists and that `multiPoint` (or the defaults) also
have, as the point lists them; then the others of `multiPoint`; then those that only the point lists.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points

import yaml

from kubepy.api.types import Object
from kubepy.scheduler.extender import Extender, parse_extender
from kubepy.scheduler.framework import POINTS, Plugin, Profile, Weighted, takes_part
from kubepy.scheduler.plugins import DEFAULT

API_VERSION = "kubescheduler.config.k8s.io/v1"
ENTRY_POINTS = "kubepy.scheduler.plugins"


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
    extenders: list[Extender] = field(default_factory=list)
    source: Object = field(default_factory=dict)
    """As it was given."""


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
    try:
        extenders = [parse_extender(entry, position) for position, entry in enumerate(obj.get("extenders") or ())]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if sum(extender.binds for extender in extenders) > 1:
        raise ConfigError(f"extenders: Invalid value: found {sum(e.binds for e in extenders)} extenders implementing bind: "
                          "only one extender can implement bind")
    initial, most = float(obj.get("podInitialBackoffSeconds") or 1), float(obj.get("podMaxBackoffSeconds") or 10)
    if most < initial:
        raise ConfigError("podMaxBackoffSeconds: must be greater than or equal to PodInitialBackoffSeconds")
    config = Config(
        initial_backoff=initial, max_backoff=most, parallelism=int(obj.get("parallelism") or 16),
        leader_election=obj.get("leaderElection") or {}, kubeconfig=(obj.get("clientConnection") or {}).get("kubeconfig") or "",
        extenders=extenders, source=obj,
    )
    if config.parallelism <= 0:
        raise ConfigError(f"parallelism: Invalid value: {config.parallelism}: should be an integer value greater than zero")
    share = obj.get("percentageOfNodesToScore")
    if share is not None and not 0 <= int(share) <= 100:
        raise ConfigError(f"percentageOfNodesToScore: Invalid value: {share}: not in valid range [0-100]")
    ignored = frozenset().union(*(extender.ignored for extender in extenders))
    for position, entry in enumerate(obj.get("profiles") or ({},)):
        name = entry.get("schedulerName") or "default-scheduler"
        if name in config.profiles:
            raise ConfigError(f'profiles[{position}].schedulerName: Duplicate value: "{name}"')
        config.profiles[name] = make_profile(name, entry.get("plugins") or {}, entry.get("pluginConfig") or (),
                                              ignored)
    return config


def default() -> Config:
    return parse({"apiVersion": API_VERSION, "kind": "KubeSchedulerConfiguration"})


def registry() -> dict[str, type[Plugin]]:
    """Every plugin by name: the built-in ones and those installed packages offer as `kubepy.scheduler.plugins` entry points."""
    found = {plugin.name: plugin for plugin, _ in DEFAULT}
    for entry in entry_points(group=ENTRY_POINTS):
        found[entry.name] = entry.load()
    return found


def make_profile(name: str, plugins: Object, configs: Sequence[Object], ignored: frozenset[str] = frozenset()) -> Profile:
    """The default plugins with what `plugins` switches off and on. `ignored`: resources that extenders look after."""
    known = registry()
    for point in plugins:
        if point not in POINTS and point != "multiPoint":
            raise ConfigError(f'plugins: unknown field "{point}"')
    args = _arguments(configs, known)
    if ignored:
        fit = args.setdefault("NodeResourcesFit", {})
        fit["ignoredResources"] = [*(fit.get("ignoredResources") or ()), *ignored]
    weights = {plugin.name: weight for plugin, weight in DEFAULT}
    off, on = _switches(plugins.get("multiPoint") or {})
    names = [n for n in weights if n not in off and "*" not in off]
    for wanted, weight in on:
        if wanted not in known:
            raise ConfigError(f'plugins.multiPoint: plugin "{wanted}" does not exist')
        if wanted not in names:
            names.append(wanted)
        weights[wanted] = weight or weights.get(wanted) or 1
    by_point: dict[str, list[str]] = {}
    for point in POINTS:
        off, on = _switches(plugins.get(point) or {})
        general = [n for n in names if takes_part(known[n], point) and n not in off and "*" not in off]
        for wanted, weight in on:
            if wanted not in known or not takes_part(known[wanted], point):
                why = "does not exist" if wanted not in known else f"does not extend {point[0].upper()}{point[1:]} plugin"
                raise ConfigError(f'plugins.{point}: plugin "{wanted}" {why}')
            if weight:
                weights[wanted] = weight
        listed = [wanted for wanted, _ in on]
        first = [n for n in listed if n in general]
        by_point[point] = list(dict.fromkeys([*first, *(n for n in general if n not in first), *listed]))
    made: dict[str, Plugin] = {}
    for wanted in dict.fromkeys([*names, *(n for chosen in by_point.values() for n in chosen)]):
        try:
            made[wanted] = known[wanted](args.get(wanted))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"pluginConfig[{wanted}].args: {error}") from error
    if len(by_point["queueSort"]) != 1:
        raise ConfigError(f"plugins.queueSort: one plugin required, found {len(by_point['queueSort'])}")
    if not by_point["bind"]:
        raise ConfigError("plugins.bind: at least one bind plugin is needed")
    return Profile(
        name=name, plugins=list(made.values()), points={point: [made[n] for n in chosen] for point, chosen in by_point.items()},
        scores=[Weighted(made[n], weights.get(n) or 1) for n in by_point["score"]],
    )


def _arguments(configs: Sequence[Object], known: dict[str, type[Plugin]]) -> dict[str, Object]:
    found: dict[str, Object] = {}
    for position, config in enumerate(configs):
        if config.get("name") in found:
            raise ConfigError(f'pluginConfig[{position}]: Duplicate value: "{config["name"]}"')
        if config.get("name") not in known:
            raise ConfigError(f'pluginConfig[{position}].name: plugin "{config.get("name")}" does not exist')
        found[config["name"]] = dict(config.get("args") or {})
    return found


def _switches(part: Object) -> tuple[set[str], list[tuple[str, int]]]:
    off = {entry["name"] for entry in part.get("disabled") or ()}
    return off, [(entry["name"], int(entry.get("weight") or 0)) for entry in part.get("enabled") or ()]


