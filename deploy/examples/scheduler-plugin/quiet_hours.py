"""QuietHours: pods labelled `noise: loud` do not go to nodes whose label `quiet-hours` (`22-6`) covers the hour, and rather go where
the most hours are left before quiet begins. A whole scheduler plugin: rules for one node, which the framework asks about each."""
from __future__ import annotations

from datetime import UTC, datetime

from kubepy.scheduler.framework import Plugin, Reason, Wake


class QuietHours(Plugin):
    name = "QuietHours"
    wakes = (Wake("Node", frozenset({"add", "label"})),)

    def __init__(self, args=None):
        super().__init__(args)
        self.label = self.args.get("label", "quiet-hours")

    def hour(self) -> int:
        return datetime.fromtimestamp(self.handle.clock.now(), UTC).hour

    def filter_node(self, cycle, node):
        if cycle.pod.labels.get("noise") == "loud" and self.hours_left(node) == 0:
            return (Reason("node(s) are quiet at this hour", False),)
        return ()

    def score_node(self, cycle, node, feasible):
        return self.hours_left(node) * 4 if cycle.pod.labels.get("noise") == "loud" else None

    def hours_left(self, node) -> int:
        """Until quiet begins: 0 while it lasts, 24 where it never does."""
        first, dash, last = node.labels.get(self.label, "").partition("-")
        if not dash:
            return 24
        now, quiet = self.hour(), (int(last) - int(first)) % 24
        return 0 if (now - int(first)) % 24 < quiet else (int(first) - now) % 24
