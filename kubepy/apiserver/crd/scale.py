"""The scale of a custom resource, at the paths its definition names (`pkg/registry/customresource/etcd.go`)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubepy.api.errors import InternalError
from kubepy.api.types import Object
from kubepy.apiserver.crd.selectable import at, keys_of

_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Object, paths: Mapping[str, str], absent: int | None = None) -> Object:
    """The Scale that shows an object; raises InternalError where it has no replicas and `absent` does not stand for them."""
    path = paths["specReplicasPath"]
    replicas = at(obj, path)
    replicas = absent if replicas is None else replicas
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise InternalError.of(f'the spec replicas field "{path}" does not exist')
    status: Object = {"replicas": at(obj, paths["statusReplicasPath"]) or 0}
    if selector := (at(obj, paths["labelSelectorPath"]) if paths.get("labelSelectorPath") else ""):
        status["selector"] = selector
    metadata = {field: obj["metadata"][field] for field in _META if field in obj["metadata"]}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {"replicas": replicas} if replicas else {},
            "status": status}


def with_replicas(obj: Object, paths: Mapping[str, str], replicas: int) -> Object:
    """The object with other replicas; parts are shared with `obj`."""
    return _set(obj, keys_of(paths["specReplicasPath"]), replicas)


def config_of(paths: Mapping[str, str], replicas: int) -> Object:
    """The fields that applying a Scale sets."""
    return _set({}, keys_of(paths["specReplicasPath"]), replicas)


def _set(value: Any, keys: tuple[str, ...], leaf: Any) -> Object:
    held = value if isinstance(value, dict) else {}
    return {**held, keys[0]: leaf if len(keys) == 1 else _set(held.get(keys[0]), keys[1:], leaf)}
