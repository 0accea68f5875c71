"""ComponentStatus: computed at each request by `verbs/component.py`; its columns are `kubectl get componentstatuses`'."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import NAME, column
from kubepy.apiserver.registry.kind import Kind, Strategy


def _healthy(obj: Object) -> Object:
    conditions = obj.get("conditions") or [{}]
    return next((condition for condition in conditions if condition.get("type") == "Healthy"), {})


def _status(obj: Object) -> str:
    return {"True": "Healthy", "False": "Unhealthy"}.get(_healthy(obj).get("status", ""), "Unknown")


KIND = Kind(
    Resource("", "v1", "componentstatuses", "ComponentStatus", False),
    "componentstatus",
    Strategy(),
    columns=(
        NAME,
        column("Status", "string", "Status of the component conditions", _status),
        column("Message", "string", "Message of the component conditions", lambda obj: _healthy(obj).get("message", "")),
        column("Error", "string", "Error of the component conditions", lambda obj: _healthy(obj).get("error", "")),
    ),
    short_names=("cs",),
    verbs=("get", "list"),
)
