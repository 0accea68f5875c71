"""Configuration files of the group apiserver.config.k8s.io: read strictly, so that a misspelt field is no silent default."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Shape = Mapping[str, Any]
"""Field to what it holds: a type, a `Shape`, a list of one of them, or None for anything."""


class ConfigurationError(ValueError):
    """The file cannot be used; says why."""


def read(path: str, versions: tuple[str, ...], kind: str, shape: Shape) -> dict[str, Any]:
    """The decoded document; raises ConfigurationError or OSError."""
    try:
        document = yaml.load(Path(path).read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: yaml: {error}") from error
    if document is None:
        raise ConfigurationError(f"{path}: empty config data")
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: couldn't get version/kind; json parse error: not an object")
    if document.get("kind") != kind or document.get("apiVersion") not in versions:
        version = document.get("apiVersion", "")
        raise ConfigurationError(f'{path}: no kind "{document.get("kind", "")}" is registered for version "{version}"')
    problems = list(_problems({key: value for key, value in document.items() if key not in ("kind", "apiVersion")}, shape, ""))
    if problems:
        raise ConfigurationError(f"{path}: strict decoding error: {', '.join(problems)}")
    return document


def _problems(value: Any, shape: Any, path: str) -> list[str]:
    if value is None or shape is None:
        return []
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return [f'"{path}" is no object']
        found = [f'unknown field "{path}{"." if path else ""}{key}"' for key in value if key not in shape]
        for key, item in value.items():
            if key in shape:
                found += _problems(item, shape[key], f"{path}.{key}" if path else str(key))
        return found
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f'"{path}" is no list']
        return [problem for index, item in enumerate(value) for problem in _problems(item, shape[0], f"{path}[{index}]")]
    right = isinstance(value, shape) and not (shape is int and isinstance(value, bool))
    return [] if right else [f'"{path}" is no {shape.__name__}']
