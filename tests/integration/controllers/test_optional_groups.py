"""The groups that are off by default, switched on: a real API server and controller manager, and what is in etcd."""
from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kubepy.api.errors import ApiError, NotFound, TooManyRequests
from kubepy.api.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_TRUST_BUNDLES,
    DEVICE_TAINT_RULES,
    NODES,
    POD_CERTIFICATE_REQUESTS,
    PODS,
    RESOURCE_CLAIMS,
    RESOURCE_POOL_STATUS_REQUESTS,
    RESOURCE_SLICES,
    SERVICE_ACCOUNTS,
    STORAGE_VERSION_MIGRATIONS,
    STORAGE_VERSIONS,
    Resource,
)
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load
from tests.apiserver import ApiServer
from tests.integration.controllers.manager import SHORT_LEASE, Manager
from tests.integration.controllers.test_manager import until

pytestmark = [pytest.mark.etcd, pytest.mark.asyncio(loop_scope="module")]
GATES = ("ClusterTrustBundle=true,ClusterTrustBundleProjection=true,PodCertificateRequest=true,DRADeviceTaintRules=true,"
         "DRAResourcePoolStatus=true,StorageVersionAPI=true,StorageVersionMigrator=true")
VERSIONS = ",".join(f"{version}=true" for version in (
    "storagemigration.k8s.io/v1beta1", "internal.apiserver.k8s.io/v1alpha1", "certificates.k8s.io/v1beta1", "certificates.k8s.io/v1alpha1",
    "resource.k8s.io/v1beta2", "resource.k8s.io/v1alpha3"))
RUN = ("serviceaccount", "root-ca-cert-publisher", "storage-version-migrator-controller", "storageversion-garbage-collector-controller",
       "kube-apiserver-serving-clustertrustbundle-publisher-controller", "resourcepoolstatusrequest-controller",
       "device-taint-eviction-controller", "podcertificaterequest-cleaner-controller")
DAY = timedelta(days=1)
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
WIDGETS = Resource("example.com", "v1", "widgets", "Widget", True)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer("--runtime-config", VERSIONS, "--feature-gates", GATES, "--enable-admission-plugins=NodeRestriction") as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: ApiServer) -> AsyncIterator[HttpClient]:
    manager = Manager(server, "-v", "2", *SHORT_LEASE, "--feature-gates", GATES, "--controllers", ",".join(RUN))
    manager.start()
    client = HttpClient(load(server.kubeconfig))
    await until(lambda: client.get(SERVICE_ACCOUNTS, "default", "default"), "default account", 60)
    yield client
    await client.close()
    assert manager.stop() == 0


def definition(storage: str) -> Object:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"size": {"type": "integer"}}}}
    return {"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [{"name": name, "served": True, "storage": name == storage, "schema": schema} for name in ("v1", "v2")]}}


def widget(number: int) -> Object:
    return {"apiVersion": WIDGETS.api_version, "kind": WIDGETS.kind, "metadata": {"name": f"w-{number}", "namespace": "default"},
            "size": number}


def stored(server: ApiServer) -> list[Object]:
    """The widgets as they are in etcd."""
    first = b"/registry/example.com/widgets/"
    end = first[:-1] + bytes([first[-1] + 1])
    body = json.dumps({"key": base64.b64encode(first).decode(), "range_end": base64.b64encode(end).decode()}).encode()
    with urllib.request.urlopen(f"{server.etcd.url}/v3/kv/range", body, timeout=10) as answer:
        return [json.loads(base64.b64decode(item["value"])) for item in json.loads(answer.read()).get("kvs", ())]


async def ended(client: HttpClient, name: str) -> Object:
    """The conditions of a migration that is over."""
    found: Object = {}

    async def over() -> bool:
        status = (await client.get(STORAGE_VERSION_MIGRATIONS, name)).get("status") or {}
        found.update({item["type"]: item for item in status.get("conditions") or ()}, version=status.get("resourceVersion"))
        return any(found.get(kind, {}).get("status") == "True" for kind in ("Succeeded", "Failed"))

    await until(over, "the migration's end", 60)
    return found


async def test_old_bytes_in_etcd_are_written_again(server: ApiServer, client: HttpClient) -> None:
    await client.create(DEFINITIONS, definition("v1"))

    async def accepted() -> bool:
        try:
            await client.create(WIDGETS, widget(0))
        except (NotFound, TooManyRequests):
            return False
        return True

    await until(accepted, "the custom resource", 60)
    for number in range(1, 4):
        await client.create(WIDGETS, widget(number))
    live = await client.get(DEFINITIONS, "widgets.example.com")
    await client.update(DEFINITIONS, {**live, "spec": definition("v2")["spec"]})

    async def both() -> bool:
        return (await client.get(DEFINITIONS, "widgets.example.com"))["status"]["storedVersions"] == ["v1", "v2"]

    await until(both, "two stored versions")
    assert {item["apiVersion"] for item in stored(server)} == {"example.com/v1"}
    await client.create(STORAGE_VERSION_MIGRATIONS, {"metadata": {"name": "widgets"}, "spec": {
        "resource": {"group": "example.com", "resource": "widgets"}}})
    end = await ended(client, "widgets")
    assert (end["Succeeded"]["reason"], end["Running"]["status"]) == ("StorageVersionMigrationSucceeded", "False")
    assert int(end["version"]) > 0
    found = stored(server)
    assert {item["apiVersion"] for item in found} == {"example.com/v2"}
    assert [item["size"] for item in found] == [0, 1, 2, 3]
    status = (await client.get(DEFINITIONS, "widgets.example.com"))["status"]
    assert status["storedVersions"] == ["v2"]
    assert next(item for item in status["conditions"] if item["type"] == "StorageMigrating")["reason"] == "MigrationSucceeded"


async def test_built_in_resources_migrate_and_what_is_not_there_fails(client: HttpClient) -> None:
    for name, group, plural in (("accounts", "", "serviceaccounts"), ("reviews", "authentication.k8s.io", "tokenreviews")):
        await client.create(STORAGE_VERSION_MIGRATIONS, {"metadata": {"name": name}, "spec": {
            "resource": {"group": group, "resource": plural}}})
    assert (await ended(client, "accounts"))["Succeeded"]["status"] == "True"
    assert (await ended(client, "reviews"))["Failed"]["message"] == "resource cannot be listed and patched"


async def test_a_server_tells_how_it_stores_and_entries_of_none_are_cleared_away(client: HttpClient) -> None:
    found = await client.get(STORAGE_VERSIONS, "apps.deployments")
    assert found["status"]["commonEncodingVersion"] == "apps/v1"
    ghost = {"apiServerID": "apiserver-ghost", "encodingVersion": "apps/v9", "decodableVersions": ["apps/v9"]}
    status = {"storageVersions": [*found["status"]["storageVersions"], ghost]}
    await client.update(STORAGE_VERSIONS, {**found, "status": status}, subresource="status")
    await client.create(STORAGE_VERSIONS, {"metadata": {"name": "nobody.ghosts"}, "spec": {}})
    lonely = await client.get(STORAGE_VERSIONS, "nobody.ghosts")
    await client.update(STORAGE_VERSIONS, {**lonely, "status": {
        "storageVersions": [ghost], "commonEncodingVersion": "apps/v9"}}, subresource="status")

    async def cleared() -> bool:
        now = await client.get(STORAGE_VERSIONS, "apps.deployments")
        names = {item["metadata"]["name"] for item in (await client.list(STORAGE_VERSIONS))["items"]}
        return now["status"].get("commonEncodingVersion") == "apps/v1" and "nobody.ghosts" not in names

    await until(cleared, "the ghost to go", 60)


async def test_the_authority_of_the_api_servers_is_a_trust_bundle(server: ApiServer, client: HttpClient) -> None:
    authority = await asyncio.to_thread(Path(server.ca).read_text)

    async def published() -> bool:
        items = (await client.list(CLUSTER_TRUST_BUNDLES, field_selector="spec.signerName=kubernetes.io/kube-apiserver-serving"))["items"]
        return [item["spec"]["trustBundle"] for item in items] == [authority]

    await until(published, "the bundle", 60)
    config = load(server.kubeconfig)
    account = HttpClient(replace(config, impersonate="system:serviceaccount:default:default",
                                 impersonate_groups=("system:serviceaccounts", "system:authenticated")))
    assert len((await account.list(CLUSTER_TRUST_BUNDLES))["items"]) == 1
    await account.close()


async def test_kubelets_ask_for_certificates_of_their_pods_and_signers_answer(server: ApiServer, client: HttpClient) -> None:
    nodes = [await client.create(NODES, {"metadata": {"name": name}}) for name in ("n1", "n2")]
    pod = await client.create(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {
        "nodeName": "n1", "containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "projected": {"sources": [
            {"podCertificate": {"signerName": "example.com/pods", "keyType": "ECDSAP256", "credentialBundlePath": "bundle.pem"}},
            {"clusterTrustBundle": {"signerName": "kubernetes.io/kube-apiserver-serving", "labelSelector": {}, "path": "ca.pem"}}]}}]}})
    assert len(pod["spec"]["volumes"][0]["projected"]["sources"][0]) == 1
    key = ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    account = await client.get(SERVICE_ACCOUNTS, "default", "default")
    spec = {"signerName": "example.com/pods", "podName": "p", "podUID": pod["metadata"]["uid"], "serviceAccountName": "default",
            "serviceAccountUID": account["metadata"]["uid"], "nodeName": "n1", "nodeUID": nodes[0]["metadata"]["uid"],
            "stubPKCS10Request": base64.b64encode(asked.public_bytes(serialization.Encoding.DER)).decode()}
    body = {"metadata": {"name": "r", "namespace": "default"}, "spec": spec}
    config = load(server.kubeconfig)
    kubelets = [HttpClient(replace(config, impersonate=f"system:node:{name}", impersonate_groups=("system:nodes", "system:authenticated")))
                for name in ("n1", "n2")]
    signer = HttpClient(replace(config, impersonate="signer", impersonate_groups=("system:authenticated",)))
    with pytest.raises(ApiError, match="which is not the requesting node"):
        await kubelets[1].create(POD_CERTIFICATE_REQUESTS, body)
    request = await kubelets[0].create(POD_CERTIFICATE_REQUESTS, body)
    assert request["spec"]["maxExpirationSeconds"] == 86400
    await until(lambda: kubelets[0].get(POD_CERTIFICATE_REQUESTS, "r", "default"), "the node's own request")
    with pytest.raises(ApiError, match="no relationship found"):
        await kubelets[1].get(POD_CERTIFICATE_REQUESTS, "r", "default")
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "signer"}, "rules": [
        {"verbs": ["update"], "apiGroups": ["certificates.k8s.io"], "resources": ["podcertificaterequests/status"]}]})
    await client.create(CLUSTER_ROLE_BINDINGS, {"metadata": {"name": "signer"}, "subjects": [{"kind": "User", "name": "signer"}],
                                                "roleRef": {"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": "signer"}})
    made = (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).public_key(key.public_key()).serial_number(1)
            .not_valid_before(now := datetime.now(UTC).replace(microsecond=0)).not_valid_after(now + DAY).sign(key, hashes.SHA256()))
    status = {"certificateChain": made.public_bytes(serialization.Encoding.PEM).decode(), "notBefore": format_time(now.timestamp()),
              "notAfter": format_time((now + DAY).timestamp()), "beginRefreshAt": format_time((now + DAY / 2).timestamp()),
              "conditions": [{"type": "Issued", "status": "True", "reason": "Issued", "message": "here it is"}]}
    with pytest.raises(ApiError, match='not permitted to "sign" for signer'):
        await signer.update(POD_CERTIFICATE_REQUESTS, {**request, "status": status}, subresource="status")
    issued = await client.update(POD_CERTIFICATE_REQUESTS, {**request, "status": status}, subresource="status")
    assert issued["status"]["conditions"][0]["lastTransitionTime"]
    for one in (*kubelets, signer):
        await one.close()


async def test_devices_are_counted_and_tainted_by_rules(client: HttpClient) -> None:
    await client.create(RESOURCE_SLICES, {"metadata": {"name": "s"}, "spec": {
        "driver": "d.io", "allNodes": True, "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": f"g{number}"} for number in range(3)]}})
    rule = {"deviceSelector": {"device": "g0"}, "taint": {"key": "broken", "effect": "NoExecute"}}
    claim = await client.create(RESOURCE_CLAIMS, {"metadata": {"name": "c", "namespace": "default"}, "spec": {"devices": {"requests": [
        {"name": "r", "exactly": {"deviceClassName": "any"}}]}}})
    pod = await client.create(PODS, {"metadata": {"name": "user", "namespace": "default"}, "spec": {
        "nodeName": "n1", "containers": [{"name": "c", "image": "i"}], "resourceClaims": [{"name": "c", "resourceClaimName": "c"}]}})
    await client.update(RESOURCE_CLAIMS, {**claim, "status": {
        "allocation": {"devices": {"results": [{"request": "r", "driver": "d.io", "pool": "p", "device": "g0"}]}},
        "reservedFor": [{"resource": "pods", "name": "user", "uid": pod["metadata"]["uid"]}]}}, subresource="status")
    await client.create(DEVICE_TAINT_RULES, {"metadata": {"name": "dry"}, "spec": {**rule, "taint": {"key": "broken", "effect": "None"}}})

    async def message(name: str) -> str:
        found = (await client.get(DEVICE_TAINT_RULES, name)).get("status") or {}
        return " ".join(f"{item['status']} {item['message']}" for item in found.get("conditions") or ())

    async def dry() -> bool:
        return "1 pod would be evicted in 1 namespace" in await message("dry")

    await until(dry, "what a rule would do", 60)
    await client.create(DEVICE_TAINT_RULES, {"metadata": {"name": "wet"}, "spec": rule})
    await client.create(RESOURCE_POOL_STATUS_REQUESTS, {"metadata": {"name": "q"}, "spec": {"driver": "d.io"}})

    async def evicted() -> bool:
        found = await client.get(PODS, "user", "default")
        return "deletionTimestamp" in found["metadata"]

    await until(evicted, "the pod to go", 60)

    async def counted() -> bool:
        return bool((await client.get(RESOURCE_POOL_STATUS_REQUESTS, "q")).get("status"))

    await until(counted, "the pools", 60)
    [pool] = (await client.get(RESOURCE_POOL_STATUS_REQUESTS, "q"))["status"]["pools"]
    assert (pool["totalDevices"], pool["allocatedDevices"]) == (3, 1)
