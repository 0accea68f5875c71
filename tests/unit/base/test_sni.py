"""Serving certificates chosen by name: what the flag says, whose name counts, and what a handshake gets."""
from __future__ import annotations

import contextlib
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubepy.base.http.sni import Named, choose, names_of, order
from kubepy.base.http.tls import ServerTls


@pytest.mark.parametrize(("text", "named"), [
    pytest.param("a.crt,a.key", Named("a.crt", "a.key"), id="its own names"),
    pytest.param("a.crt, a.key:*.Example.com,b", Named("a.crt", "a.key", ("*.example.com", "b")), id="names given"),
])
def test_flag(text: str, named: Named) -> None:
    assert Named.parse(text) == named


@pytest.mark.parametrize(("text", "message"), [
    pytest.param("a.crt", "expected comma separated certificate and key file paths", id="one file"),
    pytest.param("a,b,c", "expected comma separated certificate and key file paths", id="three files"),
    pytest.param("a,b:", "empty names list is not allowed", id="no names after the colon"),
])
def test_flag_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Named.parse(text)


NAMES = order([((), ("found", "*.found", "given")), (("given", "*.both"), ()), (("given",), ()), ((), ("found", "192.0.2.1"))])


@pytest.mark.parametrize(("asked", "place"), [
    pytest.param("found", 0, id="the earlier of two"),
    pytest.param("given", 1, id="a given name wins over a found one"),
    pytest.param("A.Both.", 1, id="wildcard, whatever the case"),
    pytest.param("a.b.both", None, id="a wildcard is one label"),
    pytest.param("other", None, id="unknown"),
    pytest.param("192.0.2.1", 3, id="address"),
    pytest.param("", None, id="no name"),
])
def test_choice(asked: str, place: int | None) -> None:
    assert choose(NAMES, asked) == place


def certificate(directory: Path, name: str, *alternatives: str) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(1)
               .not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1)))
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in alternatives]), False)
    files = directory / f"{name}.crt", directory / f"{name}.key"
    files[0].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(files[0]), str(files[1])


def served(tls: ServerTls, name: str | None) -> str:
    """The common name in the certificate that a handshake gets."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=name)
    theirs = tls.context.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    found = x509.load_der_x509_certificate(ours.getpeercert(True) or b"")
    return str(found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_handshake(tmp_path: Path) -> None:
    first, third = certificate(tmp_path, "first"), certificate(tmp_path, "third")
    second = certificate(tmp_path, "second", "api.example.com")
    assert names_of(Path(second[0]).read_bytes()) == ("second", "api.example.com")
    tls = ServerTls(*first, named=[Named(*second), Named(*third, ("*.example.com", "127.0.0.1"))], address="127.0.0.1")
    asked = {"api.example.com": "second", "b.example.com": "third", "elsewhere": "first", None: "third"}
    assert {name: served(tls, name) for name in asked} == asked
    certificate(tmp_path, "second", "new.example.net")
    tls.load()
    assert served(tls, "new.example.net") == "second"
    assert served(tls, "api.example.com") == "third"
