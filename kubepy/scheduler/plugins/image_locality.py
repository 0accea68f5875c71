"""ImageLocality: prefers nodes that hold the pod's images already, weighing an image by its size and by how many nodes have it."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubepy.scheduler.framework import MAX_SCORE, Cycle, Plugin, Scores
from kubepy.scheduler.label import Mask
from kubepy.scheduler.snapshot import Node

MEGABYTE = 1024 * 1024
SMALLEST, LARGEST = 23 * MEGABYTE, 1000 * MEGABYTE


class ImageLocality(Plugin):
    name = "ImageLocality"

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        snapshot, images = cycle.snapshot, cycle.template.images
        known = [snapshot.images[name] for name in map(normal_name, images) if name in snapshot.images]
        if not known:
            return None
        total = np.zeros(snapshot.capacity, np.float64)
        for where in known:
            share = len(where) / len(snapshot)
            for slot, size in where.items():
                total[slot] += int(size * share)
        highest = LARGEST * len(images)
        found: Scores = np.floor((np.clip(total, SMALLEST, highest) - SMALLEST) * MAX_SCORE / (highest - SMALLEST))
        return found

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        snapshot, images = cycle.snapshot, cycle.template.images
        total = 0
        for name in map(normal_name, images):
            if name in node.images:
                holders = sum(1 for other in snapshot.nodes.values() if name in other.images)
                total += int(node.images[name] * (holders / len(snapshot)))
        highest = LARGEST * len(images)
        return (min(max(total, SMALLEST), highest) - SMALLEST) * MAX_SCORE // (highest - SMALLEST) if images else 0


def normal_name(image: str) -> str:
    """With the tag the runtime would add."""
    return image + ":latest" if image.rfind(":") <= image.rfind("/") else image
