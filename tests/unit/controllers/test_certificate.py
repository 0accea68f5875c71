"""Certificate requests: what each signer grants, approval by right, real certificates."""
from __future__ import annotations

import base64
import datetime
from pathlib import Path

import pytest
from credentials import CLIENT_USAGES, csr, proxy, serving, write_authority
from cryptography import x509
from rig import Rig

from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS, Resource
from kubepy.api.types import Object
from kubepy.client.memory import MemoryClient
from kubepy.controllers import main
from kubepy.controllers.certificate import approve, clean, joined, request, sign
from kubepy.controllers.kit.option import Options


@pytest.mark.parametrize(("obj", "expected"), [
    pytest.param(csr(), ["selfnodeclient", "nodeclient"], id="a kubelet renews its own"),
    pytest.param(csr(user="system:bootstrap:abc"), ["nodeclient"], id="a new kubelet"),
    pytest.param(csr("mallory"), [], id="not a node's name"),
    pytest.param(csr(organization="system:masters"), [], id="another group"),
    pytest.param(csr(dns=("evil",)), [], id="with names"),
    pytest.param(csr(usages=[*CLIENT_USAGES, "server auth"]), [], id="for serving too"),
    pytest.param(csr(signer=request.CLIENT), [], id="another signer"),
])
def test_recognize(obj: Object, expected: list[str]) -> None:
    assert approve.recognize(obj) == expected


class Reviews(MemoryClient):
    allowed = True

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None, *, name: str | None = None,
                     subresource: str | None = None, dry_run: bool = False) -> Object:
        if resource == SUBJECT_ACCESS_REVIEWS:
            return {"status": {"allowed": self.allowed}}
        return await super().create(resource, obj, namespace, name=name, subresource=subresource, dry_run=dry_run)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    cert, key = write_authority(tmp_path)
    return Options(cluster_signing_cert_file=cert, cluster_signing_key_file=key)


async def test_a_kubelets_request_is_approved_signed_and_cleaned_away(options: Options) -> None:
    async with Rig(approve.controller, sign.controller, clean.controller, options=options, client=Reviews()) as rig:
        body = csr()
        body["spec"]["expirationSeconds"] = 86400
        await rig.client.create(CERTIFICATE_SIGNING_REQUESTS, body)
        await rig.settle()
        [found] = rig.client.all(CERTIFICATE_SIGNING_REQUESTS)
        assert found["status"]["conditions"][0]["reason"] == "AutoApproved"
        certificate = x509.load_pem_x509_certificate(base64.b64decode(found["status"]["certificate"]))
        assert certificate.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lifetime == datetime.timedelta(days=1, minutes=5)
        await rig.settle(3700)
        assert rig.client.all(CERTIFICATE_SIGNING_REQUESTS) == []


async def test_without_the_right_it_waits(options: Options) -> None:
    client = Reviews()
    client.allowed = False
    async with Rig(approve.controller, sign.controller, options=options, client=client) as rig:
        await rig.client.create(CERTIFICATE_SIGNING_REQUESTS, csr())
        await rig.settle(5)
        assert "status" not in rig.client.all(CERTIFICATE_SIGNING_REQUESTS)[0]


async def test_an_approved_request_that_breaks_its_signers_rules_fails(options: Options) -> None:
    async with Rig(sign.controller, options=options) as rig:
        approved = {"conditions": [{"type": "Approved", "status": "True"}]}
        rig.client.load(CERTIFICATE_SIGNING_REQUESTS, {**csr("mallory"), "status": approved})
        await rig.settle()
        [found] = rig.client.all(CERTIFICATE_SIGNING_REQUESTS)
        assert found["status"]["conditions"][-1]["reason"] == "SignerValidationFailure"
        assert "certificate" not in found["status"]


def address(name: str, *ips: str) -> Object:
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in ips]}}


@pytest.mark.parametrize(("obj", "expected"), [
    pytest.param(serving("192.0.2.1"), "selfnodeserver", id="its own address"),
    pytest.param(serving("192.0.2.1", "192.0.2.7"), "", id="an address it has not told"),
    pytest.param(serving("192.0.2.2"), "", id="another node's address"),
    pytest.param(serving("192.0.2.9"), "", id="an address that two nodes claim"),
    pytest.param(serving("10.96.0.1"), "", id="a Service's address"),
    pytest.param(serving("127.0.0.1"), "", id="the loopback"),
    pytest.param(serving("192.0.2.1", dns=("kubernetes.default.svc",)), "", id="with a name"),
    pytest.param(serving("192.0.2.1", user="system:bootstrap:abcdef"), "", id="asked for by someone else"),
    pytest.param(proxy(), "nodeproxy", id="a proxy"),
    pytest.param(proxy("system:kube-dns"), "nodedns", id="a node's DNS"),
    pytest.param(proxy(organizations=("system:masters",)), "", id="a proxy in a group"),
    pytest.param(proxy("system:kube-scheduler"), "", id="another component"),
    pytest.param(csr(), "", id="a kubelet's client request is upstream's business"),
])
def test_what_is_approved_for_joined_nodes(obj: Object, expected: str) -> None:
    nodes = [address("n1", "192.0.2.1", "192.0.2.9", "10.96.0.1", "127.0.0.1"), address("n2", "192.0.2.2", "192.0.2.9")]
    assert joined.recognize(obj, nodes, ["10.96.0.0/16"]) == expected


async def test_a_signer_may_have_an_authority_of_its_own_and_then_needs_no_other(tmp_path: Path) -> None:
    cert, key = write_authority(tmp_path)
    args = main.parser().parse_args(["--cluster-signing-kubelet-client-cert-file", cert, "--cluster-signing-kubelet-client-key-file", key])
    async with Rig(sign.controller, options=main.options(args)) as rig:
        approved = {"conditions": [{"type": "Approved", "status": "True"}]}
        for name, signer in (("own", request.KUBELET_CLIENT), ("none", request.LEGACY)):
            body = csr(signer=signer)
            rig.client.load(CERTIFICATE_SIGNING_REQUESTS, {**body, "metadata": {**body["metadata"], "name": name}, "status": approved})
        await rig.settle()
        found = {item["metadata"]["name"]: item["status"] for item in rig.client.all(CERTIFICATE_SIGNING_REQUESTS)}
        assert "certificate" in found["own"]
        assert found["none"] == approved
