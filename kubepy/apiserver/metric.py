"""The server's own metrics, under upstream's names; counted in plain dictionaries, rendered on /metrics.

With several workers each process answers for itself.
"""
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container
from typing import TYPE_CHECKING

from kubepy.base.metrics import render as render_registry

if TYPE_CHECKING:
    from kubepy.apiserver.exchange import Exchange

BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0)
_BOUND = 20_000
"""Distinct label sets kept; more than that is a client inventing paths."""
_Key = tuple[str, str, str, str, str, str]
_total: dict[tuple[_Key, int], int] = {}
_seconds: dict[_Key, list[float]] = {}


def record(exchange: Exchange, code: int, seconds: float, known: Container[tuple[str, str, str]]) -> None:
    """Counts one finished request; `known` are the group, version and plural of what is served: others are not told apart."""
    info = getattr(exchange, "info", None)
    if info is None or not info.is_resource:
        return
    scope = "resource" if info.name else "namespace" if info.namespace else "cluster"
    key = (info.verb.upper(), info.group, info.version, info.resource, info.subresource, scope)
    if code == 404 and key not in _seconds and (info.group, info.version, info.resource) not in known:
        key = (info.verb.upper(), "", "", "", "", "")
    counted = (key, code)
    if counted not in _total and len(_total) >= _BOUND:
        return
    _total[counted] = _total.get(counted, 0) + 1
    if info.verb == "watch":
        return
    row = _seconds.get(key)
    if row is None:
        row = _seconds[key] = [0.0] * (len(BUCKETS) + 3)
    row[bisect_left(BUCKETS, seconds)] += 1
    row[-2] += seconds
    row[-1] += 1


def _labels(key: _Key) -> str:
    verb, group, version, resource, subresource, scope = (part.replace("\\", "").replace('"', "").replace("\n", "") for part in key)
    return f'group="{group}",resource="{resource}",scope="{scope}",subresource="{subresource}",verb="{verb}",version="{version}"'


def render() -> str:
    lines = ["# HELP apiserver_request_total [STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, "
             "version, resource, scope, component, and HTTP response code.", "# TYPE apiserver_request_total counter"]
    lines += [f'apiserver_request_total{{code="{code}",component="apiserver",dry_run="",{_labels(key)}}} {count}'
              for (key, code), count in _total.items()]
    lines += ["# HELP apiserver_request_duration_seconds [STABLE] Response latency distribution in seconds for each verb, dry run value, "
              "group, version, resource, subresource, scope and component.", "# TYPE apiserver_request_duration_seconds histogram"]
    for key, row in _seconds.items():
        labels, running = _labels(key), 0.0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), row, strict=False):
            running += count
            full = f'component="apiserver",dry_run="",{labels},le="{bound}"'
            lines.append(f"apiserver_request_duration_seconds_bucket{{{full}}} {running:.0f}")
        lines.append(f'apiserver_request_duration_seconds_sum{{component="apiserver",dry_run="",{labels}}} {row[-2]:.6f}')
        lines.append(f'apiserver_request_duration_seconds_count{{component="apiserver",dry_run="",{labels}}} {row[-1]:.0f}')
    lines += ["# HELP kubernetes_build_info [ALPHA] A metric with a constant '1' value labeled by version.",
              "# TYPE kubernetes_build_info gauge", 'kubernetes_build_info{git_version="v1.36.0",major="1",minor="36"} 1']
    return "\n".join(lines) + "\n" + render_registry().decode()
