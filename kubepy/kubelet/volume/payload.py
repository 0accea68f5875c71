"""What is in a configMap, secret, downwardAPI or projected volume. Pure, given the objects and tokens it refers to."""
from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kubepy.api.types import Object
from kubepy.kubelet.container.env import EnvError, Sources, field_value, resource_value
from kubepy.kubelet.volume.writer import Content


class PayloadError(Exception):
    """The volume cannot be filled; the message is what upstream's FailedMount event says."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the volume refers to: objects by (kind, name), tokens by (audience, seconds, path), and downward-API sources."""

    objects: Mapping[tuple[str, str], Object | None]
    sources: Sources
    tokens: Callable[[Object], str] = field(default=lambda source: "")
    bundles: Callable[[Object], bytes | None] = field(default=lambda source: None)
    certificates: Callable[[Object], tuple[bytes, bytes]] = field(default=lambda source: (b"", b""))
    """A projection's (key, certificate chain) in PEM."""


def references(volume: Object) -> list[tuple[str, str]]:
    """The objects a volume refers to, as (kind, name)."""
    found: list[tuple[str, str]] = []
    for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
        if entry := source.get("configMap"):
            found.append(("ConfigMap", entry["name"]))
        if entry := source.get("secret"):
            found.append(("Secret", entry.get("secretName") or entry.get("name")))
    return found


def payload(pod: Object, volume: Object, inputs: Inputs) -> dict[str, Content]:
    """All files of the volume. Raises PayloadError."""
    try:
        if (source := volume.get("configMap")) is not None:
            return _object(pod, "ConfigMap", source["name"], source, _mode(source), inputs)
        if (source := volume.get("secret")) is not None:
            return _object(pod, "Secret", source["secretName"], source, _mode(source), inputs)
        if (source := volume.get("downwardAPI")) is not None:
            return _downward(pod, source, _mode(source), inputs)
        if (source := volume.get("projected")) is not None:
            return _projected(pod, source, inputs)
    except EnvError as error:
        raise PayloadError(str(error)) from error
    raise PayloadError(f"volume {volume['name']} has no content of its own")


def _mode(source: Object, default: int = 0o644) -> int:
    mode = source.get("defaultMode")
    return default if mode is None else int(mode)


def _projected(pod: Object, source: Object, inputs: Inputs) -> dict[str, Content]:
    files: dict[str, Content] = {}
    mode = _mode(source)
    for part in source.get("sources") or ():
        if (entry := part.get("configMap")) is not None:
            files.update(_object(pod, "ConfigMap", entry["name"], entry, mode, inputs))
        elif (entry := part.get("secret")) is not None:
            files.update(_object(pod, "Secret", entry["name"], entry, mode, inputs))
        elif (entry := part.get("downwardAPI")) is not None:
            files.update(_downward(pod, entry, mode, inputs))
        elif (entry := part.get("serviceAccountToken")) is not None:
            files[entry["path"]] = _private(pod, inputs.tokens(entry).encode(), mode)
        elif (entry := part.get("podCertificate")) is not None:
            key, chain = inputs.certificates(entry)
            for place, data in (("credentialBundlePath", key + chain), ("keyPath", key), ("certificateChainPath", chain)):
                if entry.get(place):
                    files[entry[place]] = _private(pod, data, mode)
        elif (entry := part.get("clusterTrustBundle")) is not None:
            bundle = inputs.bundles(entry)
            if bundle is None and not entry.get("optional"):
                raise PayloadError(f'clustertrustbundle "{entry.get("name") or entry.get("signerName")}" not found')
            files[entry["path"]] = Content(bundle or b"", mode)
        else:
            raise PayloadError(f"unsupported projected volume source: {', '.join(part)}")
    return files


def _private(pod: Object, data: bytes, mode: int) -> Content:
    """For the pod's only user, or its group, where it has one."""
    owner = _only_user(pod)
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return Content(data, 0o600 if owner is not None or group is not None else mode, owner)


def _only_user(pod: Object) -> int | None:
    """The user all containers run as, when it is one and the same (upstream's FsUserFrom)."""
    top = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    users = set()
    for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
        own = (container.get("securityContext") or {}).get("runAsUser")
        users.add(own if own is not None else top)
    return users.pop() if len(users) == 1 else None


def _object(pod: Object, kind: str, name: str, source: Object, mode: int, inputs: Inputs) -> dict[str, Content]:
    found = inputs.objects.get((kind, name))
    optional = bool(source.get("optional"))
    if found is None:
        if optional:
            return {}
        raise PayloadError(f'{kind.lower()} "{name}" not found')
    data: dict[str, bytes] = {}
    if kind == "Secret":
        data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    else:
        data = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        data.update({key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()})
    items = source.get("items")
    if not items:
        return {key: Content(value, mode) for key, value in data.items()}
    files = {}
    for item in items:
        if item["key"] not in data:
            if optional:
                continue
            if kind == "Secret":
                raise PayloadError("references non-existent secret key: " + item["key"])
            raise PayloadError("configmap references non-existent config key: " + item["key"])
        files[item["path"]] = Content(data[item["key"]], mode if item.get("mode") is None else item["mode"])
    return files


def _downward(pod: Object, source: Object, mode: int, inputs: Inputs) -> dict[str, Content]:
    files = {}
    for item in source.get("items") or ():
        if reference := item.get("fieldRef"):
            text = field_value(pod, reference["fieldPath"], inputs.sources)
        else:
            text = resource_value(pod, {}, item["resourceFieldRef"], inputs.sources)
        files[item["path"]] = Content(text.encode(), mode if item.get("mode") is None else item["mode"])
    return files
