"""The scale subresource: a workload's replicas as an `autoscaling/v1` Scale."""
from __future__ import annotations

from dataclasses import replace

from kubepy.api.errors import BadRequest, Invalid
from kubepy.api.field import Path, invalid
from kubepy.api.resource import Resource
from kubepy.api.schema.shape import of_kind
from kubepy.api.selector import from_object, from_set
from kubepy.api.types import Object
from kubepy.apiserver.body import decode_patched, read_object
from kubepy.apiserver.crd.kind import custom_of
from kubepy.apiserver.crd.scale import config_of, with_replicas
from kubepy.apiserver.crd.scale import scale_of as custom_scale
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.columns import AGE, column, field
from kubepy.apiserver.registry.kind import Kind, Strategy, Subresource
from kubepy.apiserver.representation import answer_written, served
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs import manage, option
from kubepy.apiserver.verbs.patch import patch_type
from kubepy.apiserver.verbs.patching import ApplyPatch, Patch, read_patch
from kubepy.apiserver.verbs.update import check_name, check_uid, guaranteed_update

_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


SCALED = Kind(
    Resource("autoscaling", "v1", "scales", "Scale", True),
    "scale",
    Strategy(),
    columns=(
        column("Name", "string", "=meta.v1.ObjectMeta.name", field("metadata.name")),
        column("Desired", "integer", "=autoscaling.v1.ScaleSpec.replicas", field("spec.replicas", 0)),
        column("Available", "integer", "=autoscaling.v1.ScaleStatus.replicas", field("status.replicas", 0)),
        AGE,
    ),
)
"""What the subresource shows, as a kind of its own."""


def scale_of(obj: Object) -> Object:
    """The Scale that shows a workload."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    selector = spec.get("selector")
    if obj["kind"] == "ReplicationController":
        text = str(from_set(selector))
    else:
        text = str(from_object(selector))
    shown: Object = {"replicas": status.get("replicas") or 0}
    if text:
        shown["selector"] = text
    replicas = spec.get("replicas")
    metadata = {field: obj["metadata"][field] for field in _META if field in obj["metadata"]}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {"replicas": replicas} if replicas else {},
            "status": shown}


_UNSET = -(1 << 31)
"""Stands for replicas that a custom resource does not have yet, while they are being set."""


def shown_scale(kind: Kind, obj: Object, absent: int | None = None) -> Object:
    """The Scale of a workload or, at the paths of its definition, of a custom resource."""
    custom = custom_of(kind)
    return scale_of(obj) if custom is None or custom.scale_paths is None else custom_scale(obj, custom.scale_paths, absent)


async def serve(server: Server, exchange: Exchange, context: Context, sub: Subresource) -> None:
    kind, info = context.kind, context.info
    namespace = info.namespace if kind.resource.namespaced else ""
    if exchange.method == "GET":
        entry = await server.store(kind).get(namespace, info.name)
        await answer_written(server, exchange, replace(context, kind=SCALED), 200, shown_scale(kind, served(kind, entry)))
        return
    sent: Object | None = None
    wanted: Patch | None = None
    if exchange.method == "PUT":
        option.apply_write_options(context, "UpdateOptions")
        sent = await read_object(exchange, context, "autoscaling", "v1", "Scale")
        check_name(sent, info.name)
        _check_namespace(sent, namespace)
    else:
        content_type = patch_type(exchange, kind)
        data = await exchange.body()
        force = option.apply_write_options(context, "PatchOptions", content_type)
        wanted = read_patch(context, content_type, data, force, of_kind("autoscaling", "v1", "Scale"))

    async def transform(old: Object) -> Object:
        shown = shown_scale(kind, old, absent=_UNSET)
        new = sent if sent is not None else wanted.apply(shown, server.clock.now()) if wanted is not None else shown
        if wanted is not None:
            new = decode_patched(context, SCALED, new, wanted.shown)
        replicas = (new.get("spec") or {}).get("replicas") or 0
        custom = custom_of(kind)
        if replicas == _UNSET and custom is not None and custom.scale_paths is not None:
            raise BadRequest(f'the spec replicas field "{custom.scale_paths["specReplicasPath"]}" cannot be empty')
        if replicas < 0 and custom is None:
            problem = invalid(Path("spec.replicas"), replicas, "must be greater than or equal to 0")
            raise Invalid.of("autoscaling", "Scale", info.name, [problem])
        metadata = dict(old["metadata"])
        metadata["resourceVersion"] = new["metadata"].get("resourceVersion") or metadata["resourceVersion"]
        check_uid(kind, new, old, namespace, info.name)
        if custom is not None and custom.scale_paths is not None:
            obj = with_replicas({**old, "metadata": metadata}, custom.scale_paths, replicas)
        else:
            obj = {**old, "metadata": metadata, "spec": {**old["spec"], "replicas": replicas}}
        if not replicas:  # upstream tracks the Scale, in which a zero is nothing that could be owned
            return manage.disown(context, manage.track(context, obj, old, "scale", server.clock.now()))
        return obj if tracks else manage.track(context, obj, old, "scale", server.clock.now())

    tracks = isinstance(wanted, ApplyPatch)
    if isinstance(wanted, ApplyPatch):
        applied = wanted
        group, _, version = str(applied.value.get("apiVersion") or "").rpartition("/")
        if (group, applied.value.get("kind")) != ("autoscaling", "Scale"):
            raise BadRequest(f"invalid object type: {group}/{version}, Kind={applied.value.get('kind') or ''}")

        async def apply(old: Object) -> Object:
            spec = applied.value.get("spec") or {}
            config: Object = {"apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": applied.value.get("metadata") or {}}
            if "replicas" in spec:
                custom = custom_of(kind)
                if custom is not None and custom.scale_paths is not None:
                    config |= config_of(custom.scale_paths, spec["replicas"])
                else:
                    config["spec"] = {"replicas": spec["replicas"]}
            found = manage.without_times(manage.apply(context, old, config, applied.force, server.clock.now()))
            version = old["metadata"]["resourceVersion"]
            return old if found is old else {**found, "metadata": {**found["metadata"], "resourceVersion": version}}

        result = await guaranteed_update(server, context, apply, unconditional=True, tracked=True)
    else:
        result = await guaranteed_update(server, context, transform, unconditional=True, tracked=True)
    obj = result if isinstance(result, dict) else served(kind, result)
    await answer_written(server, exchange, replace(context, kind=SCALED), 200, shown_scale(kind, obj))


def _check_namespace(obj: Object, namespace: str) -> None:
    if obj["metadata"].get("namespace") not in (None, "", namespace):
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
