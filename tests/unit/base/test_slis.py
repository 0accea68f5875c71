"""Health checks are counted apart from other metrics."""
from __future__ import annotations

from kubepy.base import metrics, slis
from kubepy.client.serving import Health


def test_results_of_checks_are_counted() -> None:
    ready = [False, True]
    health = Health(ready={"sync": lambda: ready.pop(0)})
    assert [health.report("readyz", False)[0] for _ in range(2)] == [500, 200]
    found = slis.render().decode()
    assert 'kubernetes_healthcheck{name="sync",type="readyz"} 1.0' in found
    assert 'kubernetes_healthchecks_total{name="sync",status="error",type="readyz"} 1.0' in found
    assert "kubernetes_healthcheck" not in metrics.render().decode()
