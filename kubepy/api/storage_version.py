"""What the entries of API servers in a StorageVersion come to (`k8s.io/apiserver/pkg/storageversion`)."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.types import Object

_EQUAL = "AllEncodingVersionsEqual"


def common_version(servers: Sequence[Object]) -> str | None:
    """The version all servers store, if it is one."""
    versions = {server.get("encodingVersion", "") for server in servers}
    return versions.pop() if len(versions) == 1 else None


def concluded(status: Object, now: str) -> Object:
    """The status with the version that all servers store, if there is one, and the condition that says so."""
    common = common_version(status.get("storageVersions") or [])
    wanted = {"type": _EQUAL, "status": "True" if common else "False", "lastTransitionTime": now,
              "reason": f"CommonEncodingVersion{'Set' if common else 'Unset'}",
              "message": f"Common encoding version {'set' if common else 'unset'}"}
    old = next((item for item in status.get("conditions") or () if item["type"] == _EQUAL), None)
    if old is not None and old["status"] == wanted["status"]:
        wanted["lastTransitionTime"] = old.get("lastTransitionTime") or now
    others = [item for item in status.get("conditions") or () if item["type"] != _EQUAL]
    result = {key: value for key, value in status.items() if key != "commonEncodingVersion"}
    if common:
        result["commonEncodingVersion"] = common
    return {**result, "conditions": [*others, wanted]}
