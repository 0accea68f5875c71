"""`kubepy certs`: what ends soon is said and renewed, with the same identity under the same authority."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from kubepy.cli import certs
from kubepy.cli.pki import ensure_pki
from kubepy.client.serving import self_signed
from kubepy.kubelet.certificate.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = timedelta(days=30)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    ensure_pki(tmp_path / "pki", node_name="node-1", addresses=["192.0.2.7"], service_ip="10.96.0.1", now=NOW)
    return tmp_path / "pki"


def test_good_certificates_are_reported_and_left_alone(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in directory.rglob("*")if path.is_file()}
    assert certs.check(directory, SOON, NOW) == 0
    assert certs.renew(directory, SOON, now=NOW) == 0
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    assert "apiserver" in capsys.readouterr().out


def test_what_ends_soon_is_renewed_with_its_identity(directory: Path) -> None:
    later = NOW + timedelta(days=340)
    old = x509.load_pem_x509_certificate((directory / "apiserver.crt").read_bytes())
    assert certs.check(directory, SOON, later) == 1
    assert certs.renew(directory, SOON, now=later) == 0
    assert certs.check(directory, SOON, later) == 0
    new = x509.load_pem_x509_certificate((directory / "apiserver.crt").read_bytes())
    assert certs.subject_of(new) == certs.subject_of(old)
    new.verify_directly_issued_by(x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes()))
    assert new.public_key() != old.public_key()


def test_without_the_authoritys_key_nothing_is_broken(directory: Path) -> None:
    (directory / "ca.key").unlink()
    before = (directory / "apiserver.crt").read_bytes()
    assert certs.renew(directory, SOON, everything=True, now=NOW) == 1
    assert (directory / "apiserver.crt").read_bytes() == before


def test_certificates_that_the_kubelet_rotates_are_shown_but_not_renewed_here(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(directory / "kubelet", "kubelet-client").put(self_signed("n1"), 0.0)
    certs.check(directory, SOON, NOW)
    assert "kubelet/kubelet-client-current" in capsys.readouterr().out
    certs.renew(directory, SOON, everything=True, now=NOW)
    assert "kubelet-client-current" not in capsys.readouterr().out
