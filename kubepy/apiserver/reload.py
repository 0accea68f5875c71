"""Counts how often configuration was read again while running, under upstream's names."""
from __future__ import annotations

import time
from collections.abc import Callable

from kubepy.base.metrics import counter, gauge

_TOTAL = {name: counter(f"apiserver_{name}_controller_automatic_reloads_total",
                        f"Total number of automatic reloads of {text} configuration split by status.", ("status",))
          for name, text in (("authentication_config", "authentication"), ("authorization_config", "authorization"),
                             ("encryption_config", "encryption"))}
_LAST = {name: gauge(f"apiserver_{name}_controller_automatic_reload_last_timestamp_seconds",
                     "Timestamp of the last automatic reload of the configuration split by status.", ("status",)) for name in _TOTAL}


def reloads(name: str, load: Callable[[], None]) -> Callable[[], None]:
    """`load`, counted by its outcome; `name` is `authentication_config`, `authorization_config` or `encryption_config`."""
    def counted() -> None:
        status = "failure"
        try:
            load()
            status = "success"
        finally:
            _TOTAL[name].labels(status).inc()
            _LAST[name].labels(status).set(time.time())
    return counted
