"""Python's collector of reference cycles, used seldom: what comes from the wire is freed by its counts, and caches are no garbage."""
from __future__ import annotations

import gc


def spare(grown: int = 50_000) -> None:
    """What is there is there to stay: no collection walks it any more. Later ones come when there are `grown` containers more; a process
    full of JSON spent a tenth of its time on them. (Bounds what lies around: a container takes some 100 bytes.)

    Nothing is collected before: that would take 70 ms and find next to nothing."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(grown, 20, 50)
