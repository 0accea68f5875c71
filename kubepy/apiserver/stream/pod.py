"""Requests about a pod's containers: which container is meant, and what the kubelet is asked (`pkg/registry/core/pod`)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from kubepy.api.errors import BadRequest, Invalid
from kubepy.api.field import Errors, Path, invalid
from kubepy.api.types import Object

Query = Mapping[str, Sequence[str]]

_LOG_FLAGS = ("follow", "previous", "timestamps")
_LOG_VALUES = ("sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream")
_EXEC_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_EXEC_DEFAULTS = {"stdout": True, "stderr": True}


def choose_container(pod: Object, asked: str) -> str:
    """The container a request means. Raises BadRequest with upstream's words when that is not clear."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    containers = [item["name"] for item in spec.get("containers", [])]
    init = [item["name"] for item in spec.get("initContainers", [])]
    ephemeral = [item["name"] for item in spec.get("ephemeralContainers", [])]
    if asked:
        if asked not in (*containers, *init, *ephemeral):
            raise BadRequest(f"container {asked} is not valid for pod {name}")
        return asked
    if len(containers) == 1:
        return str(containers[0])
    text = f"a container name must be specified for pod {name}"
    if containers:
        text += f", choose one of: [{' '.join(containers)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise BadRequest(text)


def log_path(pod: Object, query: Query) -> str:
    """The kubelet's path for a container's log; raises BadRequest and Invalid."""
    metadata = pod["metadata"]
    container = choose_container(pod, _first(query, "container"))
    parameters: list[tuple[str, str]] = [(name, "true") for name in _LOG_FLAGS if _true(query, name)]
    parameters += [(name, _first(query, name)) for name in _LOG_VALUES if _first(query, name)]
    _check_log_options(metadata["name"], query)
    return _path("containerLogs", metadata["namespace"], metadata["name"], container, parameters)


def exec_path(pod: Object, query: Query, kind: str) -> str:
    """The kubelet's path for exec or attach; raises BadRequest and Invalid."""
    metadata = pod["metadata"]
    container = choose_container(pod, _first(query, "container"))
    flags = {name: _true(query, name) if name in query else _EXEC_DEFAULTS.get(name, False) for name in _EXEC_FLAGS}
    if flags["tty"]:
        flags["stderr"] = flags["stderr"] and "stderr" in query
    parameters = [(_EXEC_FLAGS[name], "1") for name, wanted in flags.items() if wanted]
    if kind == "exec":
        commands = list(query.get("command", ()))
        if not commands:
            raise BadRequest("you must specify at least 1 command")
        parameters += [("command", word) for word in commands]
    return _path(kind, metadata["namespace"], metadata["name"], container, parameters)


def port_forward_path(pod: Object, query: Query) -> str:
    metadata = pod["metadata"]
    ports = [("port", port) for value in query.get("ports", ()) for port in value.split(",") if port]
    return _path("portForward", metadata["namespace"], metadata["name"], "", ports)


def check_assigned(pod: Object) -> str:
    """The pod's node; raises BadRequest when it has none."""
    node = pod["spec"].get("nodeName")
    if not node:
        raise BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
    return str(node)


def _check_log_options(name: str, query: Query) -> None:
    errors: Errors = []
    for field, least in (("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)):
        text = _first(query, field)
        if not text:
            continue
        try:
            value = int(text)
        except ValueError:
            raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
        if value < least:
            bound = "must be greater than or equal to 0" if least == 0 else "must be greater than 0"
            errors.append(invalid(Path(field), value, bound))
    if _first(query, "sinceSeconds") and _first(query, "sinceTime"):
        errors.append(invalid(Path(""), None, "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if errors:
        raise Invalid.of("", "PodLogOptions", name, errors)


def _path(verb: str, namespace: str, pod: str, container: str, parameters: Sequence[tuple[str, str]]) -> str:
    base = f"/{verb}/{namespace}/{pod}" + (f"/{container}" if container else "")
    return f"{base}?{urlencode(parameters)}" if parameters else base


def _first(query: Query, name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def _true(query: Query, name: str) -> bool:
    """As conversion from a query does it: a parameter without a value is true."""
    values = query.get(name)
    return values is not None and len(values) > 0 and values[0].lower() not in ("false", "0", "f")
