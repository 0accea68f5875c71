"""Etcd with TLS and client certificates."""
from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubepy.apiserver.storage import etcd as module
from kubepy.apiserver.storage.etcd import TLS, EtcdKV
from kubepy.apiserver.storage.kv import Unavailable
from tests.etcd import Etcd

_START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


Identity = tuple[x509.Name, ec.EllipticCurvePrivateKey]


def _issue(directory: Path, name: str, issuer: Identity | None) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signing = issuer or (subject, key)
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(signer).public_key(key.public_key())
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(_START).not_valid_after(_START + datetime.timedelta(days=36500))
                   .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
                   .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
                   .sign(signing, hashes.SHA256()))
    (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                              serialization.NoEncryption()))
    return subject, key


@pytest.fixture
def secure_etcd(tmp_path: Path) -> Iterator[Etcd]:
    ca = _issue(tmp_path, "ca", None)
    _issue(tmp_path, "server", ca)
    _issue(tmp_path, "client", ca)
    _issue(tmp_path, "stranger", None)
    tls = TLS(*(str(tmp_path / name) for name in ("ca.crt", "client.crt", "client.key")))
    with Etcd("--cert-file", str(tmp_path / "server.crt"), "--key-file", str(tmp_path / "server.key"), "--client-cert-auth",
              "--trusted-ca-file", tls.ca, tls=tls) as etcd:
        yield etcd


@pytest.mark.etcd
async def test_certificates_are_shown_and_checked(secure_etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secure_etcd.url.startswith("https://")
    kv = EtcdKV([secure_etcd.url], TLS(str(tmp_path / "ca.crt"), str(tmp_path / "client.crt"), str(tmp_path / "client.key")))
    write = await kv.put(b"a", b"1", expected=0)
    watch = await kv.watch(b"a", b"b", after=write.revision - 1)
    assert (await watch.next()).changes[0].kv.value == b"1"
    watch.close()
    await kv.close()
    monkeypatch.setattr(module, "READ_TIMEOUT", 0.3)
    for ca, name in (("ca", ""), ("stranger", "client"), ("ca", "stranger")):
        stranger = EtcdKV([secure_etcd.url], TLS(str(tmp_path / f"{ca}.crt"), str(tmp_path / f"{name}.crt") if name else "",
                                                 str(tmp_path / f"{name}.key") if name else ""))
        with pytest.raises(Unavailable):
            await stranger.revision()
        await stranger.close()
