"""The feature gates of which this kubelet has both states (`kubepy.base.gate` has them all, with v1.36's defaults)."""
from __future__ import annotations

from kubepy.base.gate import GateError, Gates, chosen
from kubepy.kubelet.settings import Settings, SettingsError

SWITCHABLE = frozenset({"QOSReserved"})


def gates_of(settings: Settings) -> Gates:
    """What the settings say of them. Raises SettingsError in upstream's words."""
    try:
        return chosen(settings.feature_gates, SWITCHABLE)
    except GateError as error:
        raise SettingsError(f"failed to set feature gates from initial flags-based config: {error}") from error
