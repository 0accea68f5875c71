"""Approving client certificates of kubelets, where RBAC lets the requester have them (`csrapproving`)."""
from __future__ import annotations

from kubepy.api.errors import NotFound
from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS, NODES, SUBJECT_ACCESS_REVIEWS
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.controller import Controller, Watch
from kubepy.client.interface import Client
from kubepy.controllers.certificate import joined
from kubepy.controllers.certificate.request import KUBELET_CLIENT, KUBELET_SERVING, Refused, check, has_condition, parse, usages
from kubepy.controllers.kit.environment import Environment

_MESSAGES = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
    "selfnodeserver": "Auto approving self kubelet serving certificate after SubjectAccessReview.",
    "nodeproxy": "Auto approving kube-proxy client certificate after SubjectAccessReview.",
    "nodedns": "Auto approving kube-dns client certificate after SubjectAccessReview.",
}
_ADDRESS_WAIT = 2.0
"""Seconds until a serving request is looked at again whose node may not have told its addresses yet."""
_RIGHT_WAIT = 60.0
"""Seconds until a request of a joined node is looked at again that nobody has the right to yet."""


def recognize(obj: Object) -> list[str]:
    """The subresources whose `create` would permit the approval; none for what is not a kubelet's client request."""
    if obj["spec"].get("signerName") != KUBELET_CLIENT:
        return []
    try:
        wish = parse(obj)
        check(KUBELET_CLIENT, wish, usages(obj))
    except Refused:
        return []
    return ["selfnodeclient", "nodeclient"] if obj["spec"].get("username") == wish.name else ["nodeclient"]


async def _may(client: Client, obj: Object, subresource: str) -> bool:
    spec = obj["spec"]
    review = await client.create(SUBJECT_ACCESS_REVIEWS, {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {"user": spec.get("username", ""), "uid": spec.get("uid", ""), "groups": spec.get("groups") or [],
                 "extra": spec.get("extra") or {},
                 "resourceAttributes": {"group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create",
                                        "subresource": subresource, "version": "*"}}})
    return bool((review.get("status") or {}).get("allowed"))


def controller(env: Environment) -> Controller:
    client = env.client_for("certificate-controller")
    cache = env.informers.informer(CERTIFICATE_SIGNING_REQUESTS).lister
    nodes = env.informers.informer(NODES).lister

    async def reconcile(name: str) -> float | None:
        obj = cache.get(name)
        if obj is None or (obj.get("status") or {}).get("certificate") or has_condition(obj, "Approved") or has_condition(obj, "Denied"):
            return None
        candidates = recognize(obj)
        ours = joined.recognize(obj, nodes, env.options.service_cluster_ip_range)
        for subresource in (*candidates, ours) if ours else candidates:
            if not await _may(client, obj, subresource):
                continue
            now = format_time(env.clock.now())
            status = obj.get("status") or {}
            approved = {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": _MESSAGES[subresource],
                        "lastUpdateTime": now, "lastTransitionTime": now}
            conditions = [*(status.get("conditions") or ()), approved]
            try:
                await client.update(CERTIFICATE_SIGNING_REQUESTS, {**obj, "status": {**status, "conditions": conditions}},
                                    subresource="approval")
            except NotFound:
                return None
            return None
        if candidates:  # rights may be granted yet: retried with back-off
            raise ConnectionError(f"recognized csr {name!r} as {candidates} but subject access review was not approved")
        if ours:
            return _RIGHT_WAIT
        own_serving = obj["spec"]["signerName"] == KUBELET_SERVING and obj["spec"].get("username", "").startswith("system:node:")
        return _ADDRESS_WAIT if own_serving else None

    return Controller("certificate", reconcile, (Watch(CERTIFICATE_SIGNING_REQUESTS),), initial_backoff=0.2)
