"""The Node authorizer: a kubelet reaches its own Node, Lease and CSINode, its pods, and what those refer to.

Source: `plugin/pkg/auth/authorizer/node`. What it does not decide by the graph is granted by the rules of system:node.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kubepy.api.resource import PERSISTENT_VOLUMES, POD_CERTIFICATE_REQUESTS, PODS, VOLUME_ATTACHMENTS, Resource
from kubepy.api.selector import SelectorError, parse_fields
from kubepy.api.types import Object
from kubepy.apiserver.authz.bootstrap import node_rules
from kubepy.apiserver.authz.graph import Graph
from kubepy.apiserver.authz.index import Table, decode
from kubepy.apiserver.authz.interface import Access, Decision
from kubepy.apiserver.request import User
from kubepy.apiserver.storage.feed import Feed
from kubepy.apiserver.storage.interface import Entry, Event, ResourceStore
from kubepy.base.gate import DEFAULT, Gates
from kubepy.base.task import Tasks

_ALLOW = Decision("allow")
_NO_OPINION = Decision("no opinion")
_READ = ("get", "list", "watch")
_OWN = ("get", "create", "update", "patch", "delete")
LEASE_NAMESPACE = "kube-node-lease"


def node_name(user: User) -> str | None:
    """The node a user is: its name ("" for a node without one), or None for who is no node."""
    if user.name.startswith("system:node:") and "system:nodes" in user.groups:
        return user.name.removeprefix("system:node:")
    return None


class NodeAuthorizer:
    def __init__(self, graph: Graph | None = None, features: Gates = DEFAULT) -> None:
        self.graph = graph or Graph()
        self._features = features
        self._rules = Table()
        self._rules.add(node_rules(features), "allow")
        self._requests: dict[tuple[str, str], str] = {}
        """The nodes that asked for certificates, by request."""
        self._feeds: list[Feed] = []
        self._seen: dict[tuple[str, str], tuple[str, bool]] = {}

    def start(self, stores: Mapping[Resource, ResourceStore], tasks: Tasks) -> None:
        """Follows pods, volumes and attachments for ever."""
        for resource, put in ((PODS, self._put_pod), (PERSISTENT_VOLUMES, lambda _, name, entry: self.graph.set_volume(name, _load(entry))),
                              (VOLUME_ATTACHMENTS, lambda _, name, entry: self.graph.set_attachment(name, _load(entry)))):
            self._start(stores, tasks, resource, put)
        if self._features.enabled("PodCertificateRequest") and POD_CERTIFICATE_REQUESTS in stores:
            self._start(stores, tasks, POD_CERTIFICATE_REQUESTS, self._put_request)

    def _start(self, stores: Mapping[Resource, ResourceStore], tasks: Tasks, resource: Resource,
               put: Callable[[str, str, Entry | None], None]) -> None:
        feed = _follow(stores[resource], put)
        self._feeds.append(feed)
        tasks.keep(feed.run, f"node-graph/{resource.plural}", maximum=5.0)

    def _put_request(self, namespace: str, name: str, entry: Entry | None) -> None:
        if entry is None:
            self._requests.pop((namespace, name), None)
        else:
            self._requests[namespace, name] = entry.fields.get("spec.nodeName") or ""

    async def ready(self) -> None:
        for feed in self._feeds:
            await feed.ready.wait()

    def _put_pod(self, namespace: str, name: str, entry: Entry | None) -> None:
        """Most changes of a pod are to its status: it is decoded only while what it refers to may still change."""
        if entry is None:
            self._seen.pop((namespace, name), None)
            self.graph.set_pod(namespace, name, None)
            return
        if not entry.fields.get("spec.nodeName"):  # not bound: it opens nothing to any node
            self._seen.pop((namespace, name), None)
            self.graph.set_pod(namespace, name, None)
            return
        changeable = b'"ephemeralContainers"' in entry.raw or b'"resourceClaims"' in entry.raw
        settled = not changeable
        if settled and self._seen.get((namespace, name)) == (entry.uid, True):
            return
        self._seen[(namespace, name)] = (entry.uid, settled)
        self.graph.set_pod(namespace, name, decode(entry.raw))

    async def authorize(self, access: Access) -> Decision:
        node = node_name(access.user)
        if node is None:
            return _NO_OPINION
        if not node:
            return _refuse(f'unknown node for user "{access.user.name}"')
        if not access.is_resource:
            return _NO_OPINION
        special = _SPECIAL.get((access.group, access.resource))
        if special is not None and (decision := special(self, node, access)) is not None:
            return decision
        allowed = self._rules.resource(access.verb, access.group, access.resource, access.subresource, access.name)
        return _ALLOW if allowed else _NO_OPINION

    def _linked(self, node: str, access: Access, resource: str = "") -> Decision:
        if not access.name:
            return _refuse("No Object name found")
        if self.graph.reaches(node, (resource or access.resource, access.namespace, access.name)):
            return _ALLOW
        return _refuse(f"no relationship found between node '{node}' and this object")

    def _read_namespaced(self, node: str, access: Access) -> Decision | None:
        if access.verb not in _READ:
            return _refuse("can only read resources of this type")
        if access.subresource:
            return _refuse("cannot read subresource")
        if not access.namespace:
            return _refuse("can only read namespaced object of this type")
        return self._linked(node, access)

    def _get(self, node: str, access: Access) -> Decision | None:
        if access.verb != "get":
            return _refuse("can only get individual resources of this type")
        if access.subresource:
            return _refuse("cannot get subresource")
        return self._linked(node, access)

    def _claim(self, node: str, access: Access) -> Decision | None:
        if access.subresource != "status":
            return self._get(node, access)
        if access.verb not in ("update", "patch"):
            return _refuse("can only get/update/patch this type")
        return self._linked(node, access)

    def _service_account(self, node: str, access: Access) -> Decision | None:
        if access.verb == "get" and not access.subresource:
            return self._linked(node, access)
        if access.verb != "create" or not access.name:
            return _refuse("can only create tokens for individual service accounts")
        if access.subresource != "token":
            return _refuse("can only create token subresource of serviceaccount")
        return self._linked(node, access)

    def _lease(self, node: str, access: Access) -> Decision | None:
        if access.verb not in _OWN:
            return _refuse("can only get, create, update, patch, or delete a node lease")
        if access.namespace != LEASE_NAMESPACE:
            return _refuse(f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        if access.name != node and access.verb != "create":
            return _refuse("can only access node lease with the same name as the requesting node")
        return _ALLOW

    def _csi_node(self, node: str, access: Access) -> Decision | None:
        if access.verb not in _OWN:
            return _refuse("can only get, create, update, patch, or delete a CSINode")
        if access.subresource:
            return _refuse("cannot authorize CSINode subresources")
        if access.name != node and access.verb != "create":
            return _refuse("can only access CSINode with the same name as the requesting node")
        return _ALLOW

    def _resource_slice(self, node: str, access: Access) -> Decision | None:
        if access.subresource:
            return _refuse("cannot authorize ResourceSlice subresources")
        if access.verb in ("list", "watch", "deletecollection"):
            return _ALLOW if _selects(access, "spec.nodeName", node) else _refuse(
                "can only list/watch/deletecollection resourceslices with nodeName field selector")
        if access.verb in ("get", "create", "update", "patch", "delete"):
            return _ALLOW if access.verb == "create" else self._linked(node, access)
        return _refuse("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, "
                       "deletecollection")

    def _certificate_request(self, node: str, access: Access) -> Decision | None:
        """What a node may ask for is NodeRestriction's to say."""
        if access.subresource:
            return _refuse(f'nodes may not access the "{access.subresource}" subresource of podcertificaterequests')
        if access.verb in ("list", "watch"):
            return _ALLOW if _selects(access, "spec.nodeName", node) else _refuse(
                "can only list/watch podcertificaterequests with nodeName field selector")
        if access.verb == "get" and self._requests.get((access.namespace, access.name)) != node:
            return _refuse(f"no relationship found between node '{node}' and this object")
        return None

    def _node(self, node: str, access: Access) -> Decision | None:
        if access.subresource or access.verb not in _READ:
            return None
        if access.name == node:
            return _ALLOW
        if not access.name:
            return _refuse(f"node '{node}' cannot read all nodes, only its own Node object")
        return _refuse(f"node '{node}' cannot read '{access.name}', only its own Node object")

    def _pod(self, node: str, access: Access) -> Decision | None:
        if access.subresource or access.verb not in _READ:
            return None
        if access.verb != "get":
            if _selects(access, "spec.nodeName", node):
                return _ALLOW
            return _refuse("can only list/watch pods with spec.nodeName field selector")
        return self._linked(node, access)


_SPECIAL: dict[tuple[str, str], Callable[[NodeAuthorizer, str, Access], Decision | None]] = {
    ("", "secrets"): NodeAuthorizer._read_namespaced,
    ("", "configmaps"): NodeAuthorizer._read_namespaced,
    ("", "persistentvolumeclaims"): NodeAuthorizer._claim,
    ("", "persistentvolumes"): NodeAuthorizer._get,
    ("", "serviceaccounts"): NodeAuthorizer._service_account,
    ("", "nodes"): NodeAuthorizer._node,
    ("", "pods"): NodeAuthorizer._pod,
    ("resource.k8s.io", "resourceclaims"): NodeAuthorizer._get,
    ("resource.k8s.io", "resourceslices"): NodeAuthorizer._resource_slice,
    ("storage.k8s.io", "volumeattachments"): NodeAuthorizer._get,
    ("storage.k8s.io", "csinodes"): NodeAuthorizer._csi_node,
    ("coordination.k8s.io", "leases"): NodeAuthorizer._lease,
    ("certificates.k8s.io", "podcertificaterequests"): NodeAuthorizer._certificate_request,
}


def _refuse(reason: str) -> Decision:
    return Decision("no opinion", reason)


def _selects(access: Access, field: str, value: str) -> bool:
    """Whether the field selector asks for exactly this value."""
    try:
        return parse_fields(access.field_selector).exact(field) == value
    except SelectorError:
        return False


def _load(entry: Entry | None) -> Object | None:
    return None if entry is None else decode(entry.raw)


def _follow(store: ResourceStore, put: Callable[[str, str, Entry | None], None]) -> Feed:
    known: set[tuple[str, str]] = set()

    def replace(entries: Sequence[Entry]) -> None:
        present = {(entry.namespace, entry.name) for entry in entries}
        for key in known - present:
            put(*key, None)
        known.clear()
        known.update(present)
        for entry in entries:
            put(entry.namespace, entry.name, entry)

    def apply(event: Event) -> None:
        key = (event.entry.namespace, event.entry.name)
        if event.type == "DELETED":
            known.discard(key)
            put(*key, None)
        else:
            known.add(key)
            put(*key, event.entry)

    return Feed(store, replace, apply)
