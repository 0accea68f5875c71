"""StorageVersion: in which version each API server stores a resource, and which versions it can read (alpha).

Follows `pkg/registry/apiserverinternal/storageversion` and `pkg/apis/apiserverinternal/validation`.
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import STORAGE_VERSIONS
from kubepy.api.storage_version import common_version
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_STATUS = Path("status")
_API_VERSION = "an apiVersion is " + name.regex_error(
    "a DNS-1035 label, which must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with "
    "an alphanumeric character", "[a-z]([-a-z0-9]*[a-z0-9])?", "my-name", "abc-123") + (
    " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyVersion')")
_EMPTY = "must be non-empty"


class StorageVersionStrategy(Strategy):
    has_status = True
    name_kind = "own"

    def validate(self, context: Context, obj: Object) -> Errors:
        text = obj["metadata"].get("name") or ""
        errors = [field.invalid(Path("metadata.name"), text, why) for why in _name_problems(text) if text]
        return errors + _status_problems(obj.get("status") or {})

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return []

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return _status_problems(obj.get("status") or {})


def _name_problems(text: str) -> list[str]:
    group, dot, resource = text.rpartition(".")
    if not dot:
        return ["name must be in the form of <group>.<resource>"]
    errors = [f"the group segment {why}" for why in name.subdomain(group)]
    return errors + [f"the resource segment {why}" for why in name.label_1035(resource)]


def _status_problems(status: Object) -> Errors:
    servers = status.get("storageVersions") or []
    errors = [error for position, server in enumerate(servers)
              for error in _server_problems(server, _STATUS.child("storageVersions").index(position))]
    return errors + _common_problems(status, servers) + _condition_problems(status.get("conditions") or [])


def _server_problems(server: Object, path: Path) -> Errors:
    identity, encoding = server.get("apiServerID", ""), server.get("encodingVersion", "")
    errors = [field.invalid(path.child("apiServerID"), identity, message) for message in name.subdomain(identity)]
    if why := _api_version_problems(encoding):
        errors.append(field.invalid(path.child("encodingVersion"), encoding, ",".join(why)))
    decodable = server.get("decodableVersions") or []
    for position, version in enumerate(decodable):
        if why := _api_version_problems(version):
            errors.append(field.invalid(path.child("decodableVersions").index(position), version, ",".join(why)))
    if encoding not in decodable:
        errors.append(field.invalid(path.child("decodableVersions"), decodable, f"decodableVersions must include "
                                                                                    f"encodingVersion {encoding}"))
    for version in server.get("servedVersions") or []:
        if version not in decodable:
            errors.append(field.invalid(path.child("servedVersions"), server["servedVersions"],
                                        f"individual served version : {version} must be included in decodableVersions : "
                                        f"[{' '.join(decodable)}]"))
    return errors


def _common_problems(status: Object, servers: Sequence[Object]) -> Errors:
    path, told, real = _STATUS.child("commonEncodingVersion"), status.get("commonEncodingVersion"), common_version(servers)
    if told == real:
        return []
    if real is None:
        return [field.invalid(path, told, "should be nil if servers do not agree on the same encoding version, or if there is no server "
                                          "reporting the supported versions yet")]
    return [field.invalid(path, told, f"the common encoding version is {real}" if told is None else
                          f"the actual common encoding version is {real}")]


def _condition_problems(conditions: Sequence[Object]) -> Errors:
    """Upstream names the places as if the conditions stood in the status itself."""
    errors: Errors = []
    first: dict[str, int] = {}
    for position, item in enumerate(conditions):
        path, kind = _STATUS.index(position), item.get("type", "")
        if kind in first:
            errors.append(field.invalid(path.child("type"), kind,
                                        f"the type of the condition is not unique, it also appears in conditions[{first[kind]}]"))
        first[kind] = position
        errors += [field.invalid(path.child("type"), kind, message) for message in name.qualified(kind)]
        errors += [field.invalid(path.child("status"), kind, message) for message in name.qualified(item.get("status", ""))]
        errors += [field.required(path.child(key), f"{key} cannot be empty") for key in ("reason", "message") if not item.get(key)]
    return errors


def _api_version_problems(text: str) -> list[str]:
    parts = text.split("/")
    if len(parts) > 2:
        return [_API_VERSION]
    errors: list[str] = []
    if len(parts) == 2:
        errors += [f"group part: {why}" for why in (name.subdomain(parts[0]) if parts[0] else [_EMPTY])]
    return errors + [f"version part: {why}" for why in (name.label_1035(parts[-1]) if parts[-1] else [_EMPTY])]


def _versions(obj: Object) -> str:
    servers = at(obj, "status.storageVersions", [])
    shown = [f"{server.get('apiServerID', '')}={server.get('encodingVersion', '')}" for server in servers]
    return f"{', '.join(shown[:3])} + {len(shown) - 3} more..." if len(shown) > 3 else ", ".join(shown) or "<unset>"


KIND = Kind(
    STORAGE_VERSIONS,
    "storageversion",
    StorageVersionStrategy(),
    columns=(
        NAME,
        column("CommonEncodingVersion", "string", "=apiserverinternal.v1alpha1.StorageVersionStatus.commonEncodingVersion",
               lambda obj: at(obj, "status.commonEncodingVersion") or "<unset>"),
        column("StorageVersions", "string", "=apiserverinternal.v1alpha1.StorageVersionStatus.storageVersions", _versions),
        AGE,
    ),
    subresources=(STATUS,),
)
