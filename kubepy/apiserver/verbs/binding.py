"""Binding a pod to a node (`pods/binding`, and `bindings` of a namespace)."""
from __future__ import annotations

from kubepy.api.errors import ApiError, BadRequest, Conflict, Invalid
from kubepy.api.field import Path, required
from kubepy.api.meta import set_condition
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.apiserver.body import read_object
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Subresource
from kubepy.apiserver.request import Attributes, Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.verbs import option
from kubepy.apiserver.verbs.update import check_uid
from kubepy.base.clock import format_time

BOUND: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def serve(server: Server, exchange: Exchange, context: Context, sub: Subresource | None = None) -> None:
    info = context.info
    option.apply_write_options(context, "CreateOptions")
    binding = await read_object(exchange, context, "", "v1", "Binding")
    name = binding["metadata"].get("name") or ""
    if sub is not None:
        if name and name != info.name:
            raise BadRequest("name in URL does not match name in Binding object")
        name = info.name
    elif not name:
        raise Invalid.of("", "Binding", "", [required(Path("metadata.name"), "name or generateName is required")])
    attributes = Attributes(context, "CREATE", binding, None, {}, "binding" if sub else "", info.namespace, name)
    await server.admission.admit(attributes)
    binding = attributes.obj or binding
    await server.admission.admit_valid(attributes)
    _check(binding)
    await bind(server, context, name, binding)
    await exchange.answer_object(201, BOUND)


def _check(binding: Object) -> None:
    """Upstream answers an invalid binding with a bare 500."""
    target = binding.get("target") or {}
    problems = []
    if target.get("kind") not in (None, "", "Node"):
        problems.append(f'target.kind: Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"')
    if not target.get("name"):
        problems.append("target.name: Required value")
    if problems:
        raise ApiError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]", reason="")


async def bind(server: Server, context: Context, name: str, binding: Object) -> None:
    """Assigns the pod; raises Conflict when it has a node, goes away or is gated."""
    now = format_time(server.clock.now())
    namespace = context.info.namespace
    pods = server.kinds.of(PODS)
    store = server.services.store(PODS)

    def refuse(why: str) -> Conflict:
        return Conflict(f'Operation cannot be fulfilled on pods/binding "{name}": {why}', {"name": name, "kind": "pods/binding"})

    async def change(entry: Entry) -> Object:
        pod = entry.decode()
        check_uid(pods, binding, pod, namespace, name)
        wanted = binding["metadata"].get("resourceVersion")
        if wanted and wanted != pod["metadata"]["resourceVersion"]:
            raise refuse("the object has been modified; please apply your changes to the latest version and try again")
        if pod["metadata"].get("deletionTimestamp"):
            raise refuse(f"pod {name} is being deleted, cannot be assigned to a host")
        if node := pod["spec"].get("nodeName"):
            raise refuse(f'pod {name} is already assigned to node "{node}"')
        if pod["spec"].get("schedulingGates"):
            raise refuse(f"pod {name} has non-empty .spec.schedulingGates")
        pod["spec"]["nodeName"] = binding["target"]["name"]
        for field in ("annotations", "labels"):
            if more := binding["metadata"].get(field):
                pod["metadata"][field] = {**(pod["metadata"].get(field) or {}), **more}
        status = pod.setdefault("status", {})
        condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
        status["conditions"] = set_condition(status.get("conditions") or [], condition, now)
        return pod

    if context.dry_run:
        await change(await store.get(namespace, name))
    else:
        await store.update(namespace, name, change)
