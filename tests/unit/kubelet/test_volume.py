"""Volume content: what is in it, how it changes at once, what may be mounted."""
from __future__ import annotations

import asyncio
import base64
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubepy.api.resource import SERVICE_ACCOUNTS
from kubepy.base.clock import VirtualClock, format_time
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.container.env import Sources
from kubepy.kubelet.volume.bundle import CLUSTER_TRUST_BUNDLES, Bundles
from kubepy.kubelet.volume.certificate import POD_CERTIFICATE_REQUESTS, PodCertificates
from kubepy.kubelet.volume.hostpath import HostPathError, check_host_path
from kubepy.kubelet.volume.payload import Inputs, PayloadError, payload
from kubepy.kubelet.volume.subpath import SubPathError, open_inside, prepare_subpath
from kubepy.kubelet.volume.token import Tokens
from kubepy.kubelet.volume.writer import Content, write_atomically
from tests.unit.kubelet.test_plan import container, pod

OBJECTS: dict[tuple[str, str], dict[str, Any] | None] = {
    ("ConfigMap", "cm"): {"data": {"a": "1", "b": "2"}, "binaryData": {"bin": base64.b64encode(b"\x00\xff").decode()}},
    ("Secret", "s"): {"data": {"k": base64.b64encode(b"v").decode()}}, ("ConfigMap", "no"): None}
INPUTS = Inputs(OBJECTS, Sources(lambda kind, name: None, (), (), ()), lambda source: "token")


@pytest.mark.parametrize(("volume", "expected"), [
    ({"configMap": {"name": "cm"}}, {"a": (b"1", 0o644), "b": (b"2", 0o644), "bin": (b"\x00\xff", 0o644)}),
    ({"configMap": {"name": "cm", "defaultMode": 0o400, "items": [{"key": "a", "path": "x/y", "mode": 0o777}]}}, {"x/y": (b"1", 0o777)}),
    ({"configMap": {"name": "no", "optional": True}}, {}),
    ({"secret": {"secretName": "s", "defaultMode": 0o440}}, {"k": (b"v", 0o440)}),
    ({"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}, {"n": (b"p", 0o644)}),
    ({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"secret": {"name": "s"}}]}},
     {"token": (b"token", 0o644), "k": (b"v", 0o644)}),
], ids=["all keys", "items with a mode", "a missing optional one", "a secret", "a downward field", "projected"])
def test_payload(volume: dict[str, Any], expected: dict[str, tuple[bytes, int]]) -> None:
    found = payload(pod(), {"name": "v", **volume}, INPUTS)
    assert {path: (content.data, content.mode) for path, content in found.items()} == expected


@pytest.mark.parametrize(("volume", "message"), [
    ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
    ({"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}}, "references non-existent config key: z"),
    ({"secret": {"secretName": "s", "items": [{"key": "z", "path": "z"}]}}, "references non-existent secret key: z"),
], ids=["a missing object", "a missing key", "a missing secret key"])
def test_payload_that_is_missing(volume: dict[str, Any], message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        payload(pod(), {"name": "v", **volume}, INPUTS)


def test_a_token_belongs_to_the_only_user() -> None:
    spec = pod(container(), securityContext={"runAsUser": 1000})
    found = payload(spec, {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}, INPUTS)
    assert (found["t"].mode, found["t"].uid) == (0o600, 1000)


def test_files_change_all_at_once(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    assert write_atomically(volume, {"a": Content(b"1"), "d/b": Content(b"2", 0o400)})
    before = os.readlink(volume / "..data")
    assert (volume / "a").read_bytes() == b"1"
    assert (volume / "d" / "b").stat().st_mode & 0o777 == 0o400
    assert not write_atomically(volume, {"a": Content(b"1"), "d/b": Content(b"2", 0o400)})
    assert write_atomically(volume, {"a": Content(b"3"), "c": Content(b"4")})
    assert os.readlink(volume / "..data") != before
    assert sorted(entry.name for entry in volume.iterdir() if not entry.name.startswith("..")) == ["a", "c"]
    assert (volume / "a").read_bytes() == b"3"
    assert len([entry for entry in volume.iterdir() if entry.name.startswith("..2")]) == 1


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
def test_files_stay_in_their_volume(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        write_atomically(tmp_path / "v", {path: Content(b"")})


def test_host_paths_are_checked_and_made(tmp_path: Path) -> None:
    check_host_path(tmp_path / "d", "DirectoryOrCreate")
    check_host_path(tmp_path / "f", "FileOrCreate")
    check_host_path(tmp_path / "d", "Directory")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        check_host_path(tmp_path / "s", "Socket")
    for path, kind, message in (("f", "Directory", "is not a directory"), ("d", "File", "is not a file"), ("x", "Directory",
                                                                                                           "is not a directory"),
                                ("f", "BlockDevice", "is not a block device")):
        with pytest.raises(HostPathError, match=message):
            check_host_path(tmp_path / path, kind)


def test_a_subpath_that_is_made_has_the_volume_s_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o2777)
    before = os.umask(0o022)
    try:
        os.close(open_inside(tmp_path, ("a", "b")))
        (tmp_path / "own").mkdir(mode=0o700)
        os.close(open_inside(tmp_path, ("own",)))
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a/b", "own")] == [0o2777, 0o2700]


def test_a_subpath_cannot_leave_its_volume(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    volume.mkdir()
    (volume / "link").symlink_to("/etc")
    for subpath in ("link", "../x", "/etc"):
        with pytest.raises(SubPathError):
            prepare_subpath(volume, subpath, tmp_path / "t")


async def test_tokens_are_renewed_at_four_fifths_of_their_life_and_survive_an_absent_server() -> None:
    clock, client = VirtualClock(), MemoryClient()
    made: list[int] = []

    async def create(resource: Any, obj: dict[str, Any], namespace: str | None = None, **rest: Any) -> dict[str, Any]:
        if made == [1, 2]:
            raise ConnectionError("away")
        made.append(len(made) + 1)
        return {"status": {"token": f"t{len(made)}", "expirationTimestamp": format_time(clock.now() + obj["spec"]["expirationSeconds"])}}

    client.create = create  # type: ignore[method-assign, assignment]
    tokens = Tokens(client, clock)
    source = {"path": "t", "expirationSeconds": 600}
    assert await tokens.get(pod(), source) == "t1"
    await clock.advance(300)
    assert await tokens.get(pod(), source) == "t1"
    await clock.advance(190)
    assert await tokens.get(pod(), source) == "t2"
    await clock.advance(500)
    assert await tokens.get(pod(), source) == "t2"
    await clock.advance(200)
    with pytest.raises(ConnectionError):
        await tokens.get(pod(), source)


async def test_trust_bundles_are_every_certificate_once_and_refreshed_after_a_minute() -> None:
    clock = VirtualClock()
    client = MemoryClient(clock)
    bundles = Bundles(client, clock)

    def pem(*names: bytes) -> str:
        return "".join(f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(name).decode()}\n-----END CERTIFICATE-----\n" for name in names)

    def load(name: str, text: str, **labels: str) -> None:
        client.load(CLUSTER_TRUST_BUNDLES, {"apiVersion": "certificates.k8s.io/v1beta1", "kind": "ClusterTrustBundle",
                                            "metadata": {"name": name, "labels": labels},
                                            "spec": {"signerName": "a.example/s", "trustBundle": text}})

    assert await bundles.get({"name": "one"}) is None
    load("one", pem(b"beta", b"alpha", b"beta"))
    load("two", pem(b"gamma", b"alpha"), live="yes")
    assert await bundles.get({"name": "one"}) == pem(b"alpha", b"beta").encode()
    assert await bundles.get({"signerName": "a.example/s", "labelSelector": {}}) == pem(b"alpha", b"beta", b"gamma").encode()
    assert await bundles.get({"signerName": "a.example/s", "labelSelector": {"matchLabels": {"live": "yes"}}}) == \
        pem(b"alpha", b"gamma").encode()
    assert await bundles.get({"signerName": "a.example/s"}) is None
    load("one", pem(b"delta"))
    assert await bundles.get({"name": "one"}) == pem(b"alpha", b"beta").encode()
    await clock.advance(61)
    assert await bundles.get({"name": "one"}) == pem(b"delta").encode()


async def test_a_pod_certificate_is_asked_for_issued_renewed_and_refused() -> None:
    clock, woken = VirtualClock(), []
    client = MemoryClient(clock)
    client.load(SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default",
                                                                                              "uid": "sa"}})
    certificates = PodCertificates(client, clock, "n1", lambda: {"metadata": {"uid": "node"}}, woken.append)
    source = {"signerName": "example.com/s", "keyType": "ED25519", "credentialBundlePath": "bundle.pem", "keyPath": "key.pem",
              "userAnnotations": {"example.com/a": "b"}}
    volume = {"name": "v", "projected": {"sources": [{"podCertificate": source}]}}

    async def asked(count: int) -> dict[str, Any]:
        with pytest.raises(PayloadError, match="has not been issued yet"):
            certificates.get(pod(), "w" if count == 3 else "v", 0, source)
        return await newest(count)

    async def newest(count: int) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while len(client.all(POD_CERTIFICATE_REQUESTS)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # keys are made in a thread
        return max(client.all(POD_CERTIFICATE_REQUESTS), key=lambda entry: int(entry["metadata"]["resourceVersion"]))

    async def answer(request: dict[str, Any], **status: Any) -> None:
        seen = len(woken)
        await client.update(POD_CERTIFICATE_REQUESTS, {**request, "status": status}, subresource="status")
        async with asyncio.timeout(30):
            while len(woken) == seen:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    request = await asked(1)
    spec = request["spec"]
    stub = x509.load_der_x509_csr(base64.b64decode(spec.pop("stubPKCS10Request")))
    assert spec == {"signerName": "example.com/s", "podName": "p", "podUID": "u", "serviceAccountName": "default",
                    "serviceAccountUID": "sa", "nodeName": "n1", "nodeUID": "node", "unverifiedUserAnnotations": {"example.com/a": "b"}}
    assert stub.is_signature_valid
    block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    times = {"notAfter": format_time(clock.now() + 3600), "beginRefreshAt": format_time(clock.now() + 1800)}
    await answer(request, certificateChain=f"noise\n{block}noise\n{block}", **times)
    first = certificates.get(pod(), "v", 0, source)
    files = payload(pod(), volume, Inputs({}, INPUTS.sources, certificates=lambda entry: (first.key, first.chain)))
    assert files["bundle.pem"].data == first.key + 2 * block.encode()
    assert files["key.pem"].data == first.key
    key = serialization.load_pem_private_key(first.key, None)
    assert key.public_key() == stub.public_key()

    await clock.advance(2400)
    assert certificates.get(pod(), "v", 0, source) is first, "the old one serves until there is a new one"
    await answer(await newest(2), certificateChain=block, notAfter=format_time(clock.now() + 3600))
    assert certificates.get(pod(), "v", 0, source).key != first.key

    await answer(await asked(3), conditions=[{"type": "Denied", "status": "True", "reason": "No", "message": "never"}])
    with pytest.raises(PayloadError, match="was denied: reason='No' message='never'"):
        certificates.get(pod(), "w", 0, source)
    await certificates.stop()
