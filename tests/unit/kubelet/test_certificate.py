"""The first certificate, its renewal, and what of them survives a restart."""
from __future__ import annotations

import asyncio
import base64
import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS as CSRS
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.kubeconfig import Config, load
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.certificate.bootstrap import bootstrap, needed, rotating_config
from kubepy.kubelet.certificate.manager import Rotation, due_in
from kubepy.kubelet.certificate.request import CLIENT_SIGNER, SERVING_SIGNER, Wanted, digest_name, fitted, new_key, signing_request
from kubepy.kubelet.certificate.store import Pair, Store

DAY = 86400.0
CA_KEY = ec.generate_private_key(ec.SECP256R1())
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])


def sign(request: dict[str, Any], now: float, seconds: float = DAY) -> str:
    """What the cluster's signer answers, base64 as in the status."""
    csr = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
    builder = (x509.CertificateBuilder().subject_name(csr.subject).issuer_name(CA_NAME).public_key(csr.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(datetime.datetime.fromtimestamp(now, datetime.UTC))
               .not_valid_after(datetime.datetime.fromtimestamp(now + seconds, datetime.UTC)))
    for extension in csr.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    pem = builder.sign(CA_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


async def answer(client: MemoryClient, clock: VirtualClock) -> dict[str, Any]:
    """Signs the one request that waits."""
    await settle()
    waiting = [entry for entry in client.all(CSRS) if not (entry.get("status") or {})]
    assert len(waiting) == 1
    waiting[0]["status"] = {"certificate": sign(waiting[0], clock.now())}
    await client.update(CSRS, waiting[0], subresource="status")
    await settle()
    return waiting[0]


GOOD = Pair(b"", 0.0, 100.0, "CN=system:node:n1,O=system:nodes", frozenset({"n1", "10.0.0.1"}))
OTHER = Pair(b"", 0.0, 100.0, "CN=system:node:n2,O=system:nodes", frozenset())
SELF = Pair(b"", 0.0, 100.0, "CN=system:node:n1,O=system:nodes", frozenset({"n1"}), self_signed=True)


@pytest.mark.parametrize(("pair", "names", "now", "fraction", "expected"), [
    pytest.param(None, set(), 0.0, 0.0, 0.0, id="without a certificate, now"),
    pytest.param(GOOD, set(), 0.0, 0.0, 70.0, id="at the earliest after seven tenths of its life"),
    pytest.param(GOOD, set(), 0.0, 1.0, 90.0, id="at the latest after nine tenths"),
    pytest.param(GOOD, set(), 95.0, 1.0, 0.0, id="at once when that is over"),
    pytest.param(GOOD, {"n1"}, 0.0, 0.0, 70.0, id="a certificate may name more than is wanted"),
    pytest.param(GOOD, {"10.0.0.2"}, 0.0, 0.0, 0.0, id="a new address of the node needs a new certificate"),
    pytest.param(OTHER, set(), 0.0, 0.0, 0.0, id="another node's certificate is of no use"),
    pytest.param(SELF, {"n1"}, 0.0, 0.0, 0.0, id="one of our own making only bridges the wait"),
])
def test_when_a_certificate_is_renewed(pair: Pair | None, names: set[str], now: float, fraction: float, expected: float) -> None:
    assert due_in(pair, Wanted(SERVING_SIGNER, "n1", frozenset(names)), now, fraction) == pytest.approx(expected)


async def test_the_first_certificate_is_asked_for_and_written_down(tmp_path: Path) -> None:
    clock = VirtualClock()
    client, tasks = MemoryClient(clock), Tasks("test", clock)
    kubeconfig, pki = tmp_path / "kubelet.conf", tmp_path / "pki"
    config = Config("https://api:6443", ca_data=b"CA", token="abcdef.0123456789abcdef")

    def start() -> asyncio.Task[Any]:
        return tasks.start(bootstrap(client, config, node_name="n1", kubeconfig=str(kubeconfig), directory=pki, clock=clock), "b")

    assert needed(str(kubeconfig), clock.now())
    first = start()
    await settle()
    first.cancel()  # a kubelet that is started again goes on with its request
    await settle()
    second = start()
    request = await answer(client, clock)
    await second
    assert request["metadata"]["name"].startswith("node-csr-")
    assert request["spec"]["signerName"] == CLIENT_SIGNER
    assert request["spec"]["usages"] == ["digital signature", "client auth"]
    assert len(client.all(CSRS)) == 1
    found = load(kubeconfig)
    assert (found.server, found.ca_data, found.cert_file) == ("https://api:6443", b"CA", str(pki / "kubelet-client-current.pem"))
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    assert not (pki / "kubelet-client.key.tmp").exists()
    assert not needed(str(kubeconfig), clock.now())
    assert needed(str(kubeconfig), clock.now() + 2 * DAY)


async def test_a_denied_request_is_followed_by_another(tmp_path: Path) -> None:
    clock = VirtualClock()
    client, tasks = MemoryClient(clock), Tasks("test", clock)
    job = tasks.start(bootstrap(client, Config("https://api:6443"), node_name="n1", kubeconfig=str(tmp_path / "k"),
                                directory=tmp_path, clock=clock), "b")
    await settle()
    [denied] = client.all(CSRS)
    denied["status"] = {"conditions": [{"type": "Denied", "status": "True", "reason": "No"}]}
    await client.update(CSRS, denied, subresource="status")
    await settle()
    await clock.advance(2)
    await answer(client, clock)
    await job
    assert len(client.all(CSRS)) == 2


async def test_a_certificate_is_renewed_in_time_and_the_old_one_stays_until_then(tmp_path: Path) -> None:
    clock = VirtualClock()
    client, tasks = MemoryClient(clock), Tasks("test", clock)
    store = Store(tmp_path, "kubelet-server")
    tasks.keep(Rotation(store, client, clock, lambda: Wanted(SERVING_SIGNER, "n1", frozenset({"n1", "10.0.0.1"}))).run, "r")
    first = await answer(client, clock)
    assert first["spec"]["signerName"] == SERVING_SIGNER
    pair = store.current()
    assert pair is not None
    assert pair.names == {"n1", "10.0.0.1"}
    for _ in range(69):
        await clock.advance(DAY / 100)
    assert len(client.all(CSRS)) == 1
    for _ in range(22):
        await clock.advance(DAY / 100)
    assert store.current() == pair
    await answer(client, clock)
    renewed = store.current()
    assert renewed is not None
    assert renewed.not_after > pair.not_after
    await tasks.stop()


def test_a_kubeconfigs_own_certificate_is_where_the_rotation_begins(tmp_path: Path) -> None:
    now = VirtualClock().now()
    pems = []
    for _ in range(2):
        key = new_key()
        request = signing_request(Wanted(CLIENT_SIGNER, "n1"), key)
        obj = {"spec": {"request": base64.b64encode(request).decode()}}
        pems.append((base64.b64decode(sign(obj, now)), key))
    store = Store(tmp_path, "kubelet-client")
    config = Config("https://api", cert_data=pems[0][0], key_data=pems[0][1])
    found = rotating_config(config, store, now)
    assert (found.cert_file, found.cert_data) == (str(store.path), b"")
    assert store.path.read_bytes() == pems[0][0] + pems[0][1]
    store.put(pems[1][0] + pems[1][1], now + 1)
    rotating_config(config, store, now + 2)
    assert store.path.read_bytes() == pems[1][0] + pems[1][1], "a renewed one is not overwritten"


def test_the_name_of_a_request_depends_on_key_and_wish() -> None:
    key = new_key()
    wish = Wanted(CLIENT_SIGNER, "n1")
    assert digest_name(wish, key) == digest_name(wish, key)
    assert len({digest_name(wish, key), digest_name(wish, new_key()), digest_name(Wanted(CLIENT_SIGNER, "n2"), key)}) == 3


@pytest.mark.parametrize(("version", "encipherment"), [
    pytest.param(b'{"gitVersion":"v1.30.2-gke.1"}', False, id="as kubelets of now ask"),
    pytest.param(b'{"gitVersion":"v1.26.9"}', True, id="an approver that insists on key encipherment"),
    pytest.param(b'{"major":"1"}', False, id="a server that does not say"),
])
async def test_requests_fit_the_servers_approver(version: bytes, encipherment: bool) -> None:
    class Server(MemoryClient):
        async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
            return version if path == "/version" else await super().raw(method, path, body)

    wanted = await fitted(Server(), Wanted(SERVING_SIGNER, "n1"))
    assert ("key encipherment" in wanted.usages) is encipherment
