"""PodDisruptionBudget: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import POD_DISRUPTION_BUDGETS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class PodDisruptionBudgetStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    tracks_generation = True


KIND = Kind(
    POD_DISRUPTION_BUDGETS,
    "poddisruptionbudget",
    PodDisruptionBudgetStrategy(),
    short_names=("pdb",),
    subresources=(STATUS,),
)
