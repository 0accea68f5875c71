"""A container's environment: services, envFrom, env with references, and `$(VAR)` expansion. Pure, given what is referred to."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubepy.api.scheduling import amount
from kubepy.api.types import Object
from kubepy.kubelet.container.envfile import EnvFileError, parse

_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]$")

Fetch = Callable[[str, str], Object | None]
"""(kind: "ConfigMap" or "Secret", name) to the object in the pod's namespace, or None."""


class EnvError(Exception):
    """The environment cannot be made; the message is what upstream reports as CreateContainerConfigError."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What environments refer to."""

    fetch: Fetch
    services: Sequence[Object] = ()
    host_ips: Sequence[str] = ()
    pod_ips: Sequence[str] = ()
    allocatable: Mapping[str, str] | None = None
    """The node's: what a resource field means when the container sets no limit."""
    decode: Callable[[str], str] = lambda text: text
    files: Callable[[str, str], str | None] = lambda volume, path: None
    """(volume, path) to the text of a file in one of the pod's volumes; raises EnvFileError."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces `$(NAME)`; `$$` is a literal `$`, an unknown name stays as it is."""
    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def environment(pod: Object, container: Object, sources: Sources) -> dict[str, str]:
    """All variables in the order they are set. Raises EnvError."""
    links = pod["spec"].get("enableServiceLinks")
    services = service_variables(sources.services, pod["metadata"].get("namespace") or "default", all=links is not False)
    result: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            reference = source.get(key)
            if not reference:
                continue
            found = sources.fetch(kind, reference["name"])
            if found is None:
                if reference.get("optional"):
                    continue
                raise EnvError(f'{kind.lower()} "{reference["name"]}" not found')
            result.update({prefix + name: text for name, text in data_of(found, kind, sources).items()})
    for variable in container.get("env") or ():
        name = variable["name"]
        if "value" in variable or not variable.get("valueFrom"):
            result[name] = expand(variable.get("value") or "", {**services, **result})
            continue
        value = _referred(pod, container, variable["valueFrom"], sources)
        if value is not None:
            result[name] = value
    return {**services, **result}


def data_of(obj: Object, kind: str, sources: Sources) -> dict[str, str]:
    """A ConfigMap's or (decoded) Secret's texts."""
    data = obj.get("data") or {}
    return {key: sources.decode(value) for key, value in data.items()} if kind == "Secret" else dict(data)


def _referred(pod: Object, container: Object, source: Object, sources: Sources) -> str | None:
    if field := source.get("fieldRef"):
        return field_value(pod, field["fieldPath"], sources)
    if field := source.get("resourceFieldRef"):
        return resource_value(pod, container, field, sources)
    if field := source.get("fileKeyRef"):
        return _from_file(field, sources)
    for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        reference = source.get(key)
        if not reference:
            continue
        found = sources.fetch(kind, reference["name"])
        if found is None:
            if reference.get("optional"):
                return None
            raise EnvError(f'{kind.lower()} "{reference["name"]}" not found')
        data = data_of(found, kind, sources)
        if reference["key"] not in data:
            if reference.get("optional"):
                return None
            namespace = pod["metadata"].get("namespace") or "default"
            raise EnvError(f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}")
        return data[reference["key"]]
    return None


def _from_file(field: Object, sources: Sources) -> str | None:
    try:
        text = sources.files(field["volumeName"], field["path"])
        found = parse(text) if text is not None else {}
    except EnvFileError as error:
        raise EnvError(str(error)) from error
    if field["key"] in found:
        return found[field["key"]]
    if field.get("optional"):
        return None
    if text is None:
        raise EnvError(f"couldn't parse env file: {field['path']} not found in volume {field['volumeName']}")
    raise EnvError(f'environment variable key "{field["key"]}" not found in file "{field["path"]}"')


def field_value(pod: Object, path: str, sources: Sources) -> str:
    """A downward-API field. Raises EnvError for a path that is none."""
    metadata, spec = pod["metadata"], pod["spec"]
    if match := _SUBSCRIPT.match(path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata.get(path.partition(".")[2], ""))
        case "metadata.labels" | "metadata.annotations":
            return _format_map(metadata.get(path.partition(".")[2]) or {})
        case "spec.nodeName":
            return str(spec.get("nodeName", ""))
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName", ""))
        case "status.hostIP":
            return sources.host_ips[0] if sources.host_ips else ""
        case "status.hostIPs":
            return ",".join(sources.host_ips)
        case "status.podIP":
            return sources.pod_ips[0] if sources.pod_ips else ""
        case "status.podIPs":
            return ",".join(sources.pod_ips)
    raise EnvError(f"unsupported fieldPath: {path}")


def _format_map(values: Mapping[str, str]) -> str:
    """`key="value"` lines, sorted, as downward-API files show labels and annotations."""
    return "\n".join(f"{key}={_go_quote(values[key])}" for key in sorted(values))


def _go_quote(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


def resource_value(pod: Object, container: Object, field: Object, sources: Sources) -> str:
    """A container's request or limit in units of the divisor, rounded up; a missing limit is the node's allocatable."""
    name = field.get("containerName")
    if name:
        every = (*pod["spec"].get("containers", ()), *(pod["spec"].get("initContainers") or ()))
        container = next((other for other in every if other["name"] == name), container)
    side, _, resource = field["resource"].partition(".")
    declared = container.get("resources") or {}
    value = (declared.get(side) or {}).get(resource)
    if value is None and side == "limits" and resource in ("cpu", "memory", "ephemeral-storage"):
        value = (sources.allocatable or {}).get(resource)
    divisor = field.get("divisor") or "1"
    if str(divisor) == "0":
        divisor = "1"
    return str(-(-amount(resource, value or "0") // max(amount(resource, divisor), 1)))


def service_variables(services: Sequence[Object], namespace: str, *, all: bool) -> dict[str, str]:
    """Docker-links style variables of the namespace's services; without `all`, only those of the API server's service."""
    result: dict[str, str] = {}
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        ip = spec.get("clusterIP") or ""
        kubernetes = metadata["name"] == "kubernetes" and metadata.get("namespace") == "default"
        if not ip or ip == "None" or not spec.get("ports"):
            continue
        if not kubernetes and (not all or metadata.get("namespace") != namespace):
            continue
        if kubernetes and any(other["metadata"]["name"] == "kubernetes" and other["metadata"].get("namespace") == namespace != "default"
                              for other in services) and all:
            continue  # the namespace's own service of that name wins
        prefix = metadata["name"].upper().replace("-", "_")
        host = f"[{ip}]" if ":" in ip else ip
        ports = spec["ports"]
        result[f"{prefix}_SERVICE_HOST"] = ip
        result[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                result[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        for position, port in enumerate(ports):
            protocol = (port.get("protocol") or "TCP")
            url = f"{protocol.lower()}://{host}:{port['port']}"
            base = f"{prefix}_PORT_{port['port']}_{protocol}"
            if position == 0:
                result[f"{prefix}_PORT"] = url
            result.update({base: url, f"{base}_PROTO": protocol.lower(), f"{base}_PORT": str(port["port"]), f"{base}_ADDR": ip})
    return result
