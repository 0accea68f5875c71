"""Python's collector of reference cycles, used seldom: what comes from the wire is freed by its counts, and caches are no garbage."""
from __future__ import annotations

import gc


def spare() -> None:
    """What is there is there to stay: no collection walks it any more. Later ones are rare (a process full of JSON spent a tenth on them).

    Nothing is collected before: that would take 70 ms and find next to nothing."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 50)
