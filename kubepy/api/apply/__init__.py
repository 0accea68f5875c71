"""Server-side apply and field ownership: who set which field, tracked on every write of every kind.

    manager = FieldManager(shape, "v1")
    live["metadata"]["managedFields"] is kept by manager.update(live, new, "kubectl-edit", now) and
    merged = manager.apply(live, configuration, "gitops", now=now, force=False)

Source: `sigs.k8s.io/structured-merge-diff` and `k8s.io/apimachinery/pkg/util/managedfields`. What was recorded
under another version of a kind is judged in that version (`Version`). Known difference: applying still takes paths to mean the same in
every served version.
"""
from kubepy.api.apply.manager import FieldManager, Version
from kubepy.api.apply.shape import Shape, Shapes

__all__ = ["FieldManager", "Shape", "Shapes", "Version"]
