"""Namespaces: pods first, then the rest, told in conditions; the default account and the root CA."""
from __future__ import annotations

import orjson
from rig import Rig

from kubepy.api.resource import CONFIGMAPS, NAMESPACES, PODS, SERVICE_ACCOUNTS
from kubepy.client.memory import MemoryClient
from kubepy.controllers import namespace, rootca, serviceaccount
from kubepy.controllers.kit.option import Options


class Discoverable(MemoryClient):
    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        if path == "/apis":
            return orjson.dumps({"groups": []})
        assert path == "/api/v1"
        verbs = ["list", "delete", "deletecollection"]
        return orjson.dumps({"resources": [
            {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": verbs},
            {"name": "pods/status", "kind": "Pod", "namespaced": True, "verbs": ["get"]},
            {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": verbs},
            {"name": "namespaces", "kind": "Namespace", "namespaced": False, "verbs": ["list", "delete"]},
            {"name": "bindings", "kind": "Binding", "namespaced": True, "verbs": ["create"]}]})


async def test_a_deleted_namespace_is_emptied_pods_first_and_then_goes() -> None:
    async with Rig(namespace.controller, client=Discoverable()) as rig:
        await rig.client.create(NAMESPACES, {"metadata": {"name": "ns"}})
        await rig.client.create(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "ns"}})
        await rig.client.create(PODS, {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"nodeName": "n1"}})
        await rig.client.delete(NAMESPACES, "ns")
        await rig.settle(3)
        assert rig.client.all(PODS)[0]["metadata"]["deletionTimestamp"]
        assert len(rig.client.all(CONFIGMAPS)) == 1
        conditions = {item["type"]: item for item in rig.client.all(NAMESPACES)[0]["status"]["conditions"]}
        assert conditions["NamespaceContentRemaining"]["message"] == "Some resources are remaining: pods. has 1 resource instances"
        assert conditions["NamespaceDeletionContentFailure"]["status"] == "False"
        await rig.run_pods()
        await rig.settle(20)
        assert rig.client.all(CONFIGMAPS) == []
        assert rig.client.all(NAMESPACES) == []


async def test_an_object_with_a_finalizer_holds_the_namespace() -> None:
    async with Rig(namespace.controller, client=Discoverable()) as rig:
        await rig.client.create(NAMESPACES, {"metadata": {"name": "ns"}})
        await rig.client.create(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "ns", "finalizers": ["example.com/hold"]}})
        await rig.client.delete(NAMESPACES, "ns")
        await rig.settle(3)
        conditions = {item["type"]: item for item in rig.client.all(NAMESPACES)[0]["status"]["conditions"]}
        assert conditions["NamespaceFinalizersRemaining"]["message"] == (
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances")
        await rig.client.patch(CONFIGMAPS, "c", {"metadata": {"finalizers": None}}, "ns")
        await rig.settle(20)
        assert rig.client.all(NAMESPACES) == []


async def test_every_namespace_has_a_default_account_and_the_root_ca() -> None:
    async with Rig(serviceaccount.controller, rootca.controller, options=Options(root_ca="PEM")) as rig:
        await rig.client.create(NAMESPACES, {"metadata": {"name": "ns"}})
        await rig.settle()
        assert [account["metadata"]["name"] for account in rig.client.all(SERVICE_ACCOUNTS)] == ["default"]
        [published] = rig.client.all(CONFIGMAPS)
        assert published["data"] == {"ca.crt": "PEM"}
        await rig.client.delete(SERVICE_ACCOUNTS, "default", "ns")
        await rig.client.patch(CONFIGMAPS, "kube-root-ca.crt", {"data": {"ca.crt": "evil"}}, "ns")
        await rig.settle()
        assert len(rig.client.all(SERVICE_ACCOUNTS)) == 1
        assert rig.client.all(CONFIGMAPS)[0]["data"] == {"ca.crt": "PEM"}
