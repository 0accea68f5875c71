"""Chains of client certificates: authorities in between, what they may not do, and what a hostile chain costs."""
from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubepy.apiserver.authn.certificate import CertificateVerifier
from kubepy.base.clock import SystemClock
from kubepy.cli.pki.issue import Subject, make_ca, make_leaf, new_key

ROOT_KEY, OTHER_KEY = new_key(), new_key()
ROOT, OTHER = make_ca("root", ROOT_KEY), make_ca("other", OTHER_KEY)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(found.public_bytes(serialization.Encoding.PEM) for found in certificates)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def between(name: str, issuer: x509.Certificate = ROOT, issuer_key=ROOT_KEY, *, length: int | None = None, ca: bool = True,
            server_only: bool = False, key=None):
    """An authority that another one issued, and its key."""
    key = key or new_key()
    now = datetime.now(UTC)
    made = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca, length), True))
    if server_only:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return made.sign(issuer_key, hashes.SHA256()), key


def verify(*chain: x509.Certificate, roots: bytes = b"") -> str | None:
    user = CertificateVerifier(roots or pem(ROOT), SystemClock()).verify(tuple(map(der, chain)))
    return user.name if user else None


def leaf(authority: x509.Certificate, key, name: str = "ann") -> x509.Certificate:
    return make_leaf(Subject(name, client=True), new_key(), authority, key)


def test_an_authority_between_is_followed_to_a_trusted_one() -> None:
    first, first_key = between("first")
    second, second_key = between("second", first, first_key)
    assert verify(leaf(second, second_key), second, first) == "ann"
    assert verify(leaf(second, second_key), first, second) == "ann"  # in any order
    assert verify(leaf(second, second_key), first) is None
    assert verify(leaf(first, first_key), roots=pem(first)) == "ann"  # whatever is in the bundle is trusted


@pytest.mark.parametrize("make", [
    pytest.param(lambda: between("no", ca=False), id="no authority"),
    pytest.param(lambda: between("servers", server_only=True), id="an authority for servers only"),
    pytest.param(lambda: between("strange", OTHER, OTHER_KEY), id="somebody else's authority"),
])
def test_not_everything_may_issue(make) -> None:
    authority, key = make()
    assert verify(leaf(authority, key), authority) is None


def test_an_authority_issues_no_more_authorities_than_it_may() -> None:
    first, first_key = between("first", length=0)
    second, second_key = between("second", first, first_key)
    assert verify(leaf(first, first_key), first) == "ann"
    assert verify(leaf(second, second_key), second, first) is None


def test_a_hostile_chain_costs_little() -> None:
    key = new_key()
    loops = [between("loop", make_ca("loop", key), key, key=key)[0] for _ in range(7)]  # each could have issued each
    verifier = CertificateVerifier(pem(ROOT), SystemClock())
    chain = tuple(map(der, (leaf(loops[0], key), *loops)))
    began = time.process_time()
    assert verifier.verify(chain) is None
    assert time.process_time() - began < 1.0
    began = time.process_time()
    assert all(verifier.verify(chain) is None for _ in range(100))
    assert time.process_time() - began < 0.1


def test_another_bundle_counts_at_once() -> None:
    verifier = CertificateVerifier(pem(ROOT), SystemClock())
    mine, theirs = (der(leaf(ROOT, ROOT_KEY)),), (der(leaf(OTHER, OTHER_KEY)),)
    assert (verifier.verify(mine) is not None, verifier.verify(theirs) is not None) == (True, False)
    verifier.trust(pem(OTHER))
    assert (verifier.verify(mine) is not None, verifier.verify(theirs) is not None) == (False, True)
