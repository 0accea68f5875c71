"""The `KubeProxyConfiguration` file (kubeproxy.config.k8s.io/v1alpha1): what each field sets among the flags, and the flags as such a file.

Fields that tune upstream's own machinery, or Windows, are taken and have no effect (`_WITHOUT_EFFECT`). Known difference: unknown fields
are errors, where upstream only warns of them.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kubepy.api.types import Object
from kubepy.base import gate
from kubepy.base.flag import duration, shown_duration

API_VERSION, KIND = "kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"


class _Kind(NamedTuple):
    """A type of values: what it is called, what of YAML may stand for it, and how it is read and shown."""

    name: str
    types: tuple[type, ...]
    read: Callable[[Any], Any] = lambda value: value
    show: Callable[[Any], Any] = lambda value: value


_TEXT, _NUMBER, _BOOLEAN = _Kind("a string", (str,)), _Kind("an integer", (int,)), _Kind("a boolean", (bool,))
_DURATION = _Kind("a duration", (str,), duration, shown_duration)
_ITEMS = _Kind("a list of strings", (list,))
_GATES = _Kind("an object", (dict,), gate.chosen, gate.Gates.changed)


class _Field(NamedTuple):
    """`flag` is the attribute of the parsed flags. It counts in some `modes` alone; zero may stand for what is not said."""

    path: str
    flag: str
    kind: _Kind
    modes: tuple[str, ...] = ("iptables", "nftables", "ipvs")
    zero: bool = True


def _tables(mode: str, *others: str) -> Iterable[_Field]:
    yield _Field(f"{mode}.masqueradeBit", "iptables_masquerade_bit", _NUMBER, (mode, *others))
    yield _Field(f"{mode}.masqueradeAll", "masquerade_all", _BOOLEAN, (mode, *others))
    yield _Field(f"{mode}.syncPeriod", "iptables_sync_period", _DURATION, (mode,), zero=False)
    yield _Field(f"{mode}.minSyncPeriod", "iptables_min_sync_period", _DURATION, (mode,), zero=False)


FIELDS = (
    _Field("featureGates", "feature_gates", _GATES),
    _Field("clientConnection.kubeconfig", "kubeconfig", _TEXT),
    _Field("logging.format", "logging_format", _TEXT),
    _Field("logging.verbosity", "v", _NUMBER),
    _Field("mode", "proxy_mode", _TEXT),
    _Field("hostnameOverride", "hostname_override", _TEXT),
    _Field("bindAddress", "bind_address", _TEXT),
    _Field("bindAddressHardFail", "bind_address_hard_fail", _BOOLEAN),
    _Field("healthzBindAddress", "healthz_bind_address", _TEXT),
    _Field("metricsBindAddress", "metrics_bind_address", _TEXT),
    _Field("clusterCIDR", "cluster_cidr", _TEXT),
    _Field("detectLocalMode", "detect_local_mode", _TEXT),
    _Field("detectLocal.bridgeInterface", "pod_bridge_interface", _TEXT),
    _Field("detectLocal.interfaceNamePrefix", "pod_interface_name_prefix", _TEXT),
    _Field("nodePortAddresses", "nodeport_addresses", _ITEMS),
    _Field("oomScoreAdj", "oom_score_adj", _NUMBER),
    *_tables("iptables", "ipvs"),
    _Field("iptables.localhostNodePorts", "iptables_localhost_nodeports", _BOOLEAN),
    *_tables("nftables"),
    _Field("ipvs.scheduler", "ipvs_scheduler", _TEXT),
    _Field("ipvs.excludeCIDRs", "ipvs_exclude_cidrs", _ITEMS),
    _Field("ipvs.strictARP", "ipvs_strict_arp", _BOOLEAN),
    _Field("ipvs.tcpTimeout", "ipvs_tcp_timeout", _DURATION),
    _Field("ipvs.tcpFinTimeout", "ipvs_tcpfin_timeout", _DURATION),
    _Field("ipvs.udpTimeout", "ipvs_udp_timeout", _DURATION),
    _Field("ipvs.syncPeriod", "ipvs_sync_period", _DURATION, zero=False),
    _Field("ipvs.minSyncPeriod", "ipvs_min_sync_period", _DURATION, zero=False),
    _Field("conntrack.maxPerCore", "conntrack_max_per_core", _NUMBER),
    _Field("conntrack.min", "conntrack_min", _NUMBER),
    _Field("conntrack.tcpEstablishedTimeout", "conntrack_tcp_timeout_established", _DURATION),
    _Field("conntrack.tcpCloseWaitTimeout", "conntrack_tcp_timeout_close_wait", _DURATION),
    _Field("conntrack.tcpBeLiberal", "conntrack_tcp_be_liberal", _BOOLEAN),
    _Field("conntrack.udpTimeout", "conntrack_udp_timeout", _DURATION),
    _Field("conntrack.udpStreamTimeout", "conntrack_udp_timeout_stream", _DURATION),
)
_WITHOUT_EFFECT = {
    "clientConnection.acceptContentTypes", "clientConnection.contentType", "clientConnection.qps", "clientConnection.burst",
    "configSyncPeriod", "enableProfiling", "logging.flushFrequency", "logging.options", "logging.vmodule", "portRange",
    "showHiddenMetricsForVersion", "windowsRunAsService", "winkernel"}
_SECTIONS = {path.partition(".")[0] for path in (*(field.path for field in FIELDS), *_WITHOUT_EFFECT) if "." in path}
_PATHS = {field.path: field for field in FIELDS}


def apply(args: argparse.Namespace, document: object) -> None:
    """Sets what the file says; the name of the node stays what the flag says. Raises ValueError with every problem."""
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise ValueError(f"--config: not a {KIND}")
    if document.get("apiVersion") != API_VERSION:
        raise ValueError(f"--config: unknown version {document.get('apiVersion')!r}, not {API_VERSION}")
    mode = document.get("mode") or "iptables"
    problems: list[str] = []
    for path, value in _leaves(document, problems):
        field = _PATHS.get(path)
        if field is None:
            if path not in _WITHOUT_EFFECT:
                problems.append(f'unknown field "{path}"')
            continue
        if value is None or value == "" or (field.kind is _DURATION and value == 0):
            continue
        try:
            read = _read(field, value)
        except ValueError as error:
            problems.append(f"{path}: {error}")
            continue
        if mode in field.modes and (read or field.zero) and not (path == "hostnameOverride" and args.hostname_override):
            setattr(args, field.flag, read)
    if problems:
        raise ValueError(f"--config: {', '.join(problems)}")


def show(args: argparse.Namespace) -> Object:
    """The flags as a file."""
    document: Object = {"apiVersion": API_VERSION, "kind": KIND}
    for field in FIELDS:
        if args.proxy_mode in field.modes:
            section, _, key = field.path.rpartition(".")
            holder = document.setdefault(section, {}) if section else document
            holder[key] = field.kind.show(getattr(args, field.flag))
    return document


def _leaves(document: Mapping[str, Any], problems: list[str]) -> Iterable[tuple[str, Any]]:
    for key, value in document.items():
        if key in ("apiVersion", "kind"):
            continue
        if key not in _SECTIONS:
            yield str(key), value
        elif isinstance(value, dict):
            yield from ((f"{key}.{inner}", one) for inner, one in value.items())
        elif value is not None:
            problems.append(f"{key}: not an object")


def _read(field: _Field, value: object) -> Any:
    kind = field.kind
    if not isinstance(value, kind.types) or (isinstance(value, bool) and bool not in kind.types):
        raise ValueError(f"{value!r} is not {kind.name}")
    if kind is _ITEMS and not all(isinstance(item, str) for item in value):  # type: ignore[attr-defined]
        raise ValueError(f"{value!r} is not {kind.name}")
    return kind.read(value)
