"""The PKI directory: idempotent, private, and repaired where it is broken."""
from __future__ import annotations

import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from kubepy.cli.pki import Pki, PkiError, ensure_pki, write_kubeconfig

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return ensure(tmp_path_factory.mktemp("pki"))


def ensure(directory: Path, **changes: object) -> Pki:
    arguments: dict[str, object] = {"node_name": "node-1", "addresses": ["192.0.2.7"], "service_ip": "10.96.0.1", "now": NOW, **changes}
    return ensure_pki(directory, **arguments)  # type: ignore[arg-type]


@pytest.fixture
def copy(made: Pki, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.directory, tmp_path / "pki"))


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def changed(before: dict[str, bytes], directory: Path) -> set[str]:
    after = contents(directory)
    return {Path(name).stem for name in {*before, *after} if after.get(name) != before.get(name)}


def test_a_second_run_changes_nothing(copy: Path) -> None:
    before = contents(copy)
    ensure(copy)
    assert contents(copy) == before


def test_keys_are_for_the_owner_only(made: Pki) -> None:
    assert {path.stat().st_mode & 0o777 for path in made.directory.glob("*.key")} == {0o600}


@pytest.mark.parametrize(("name", "user", "groups"), [
    ("admin", "kubernetes-admin", ["system:masters"]),
    ("kubelet-client", "system:node:node-1", ["system:nodes"]),
    ("scheduler", "system:kube-scheduler", []),
    ("controller-manager", "system:kube-controller-manager", []),
    ("apiserver-kubelet-client", "kube-apiserver-kubelet-client", []),
    ("proxy", "system:kube-proxy", []),
])
def test_identities(made: Pki, name: str, user: str, groups: list[str]) -> None:
    cert, _ = made.pair(name).load()
    assert [a.value for a in cert.subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)] == [user]
    assert [a.value for a in cert.subject.get_attributes_for_oid(x509.oid.NameOID.ORGANIZATION_NAME)] == groups
    assert x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH in cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value


def test_the_serving_certificate_names_the_service_and_every_address(made: Pki) -> None:
    cert, _ = made.apiserver.load()
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"kubernetes", "kubernetes.default.svc.cluster.local", "localhost", "node-1"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"10.96.0.1", "127.0.0.1", "::1", "192.0.2.7"} <= {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}


def test_openssl_loads_the_pairs(made: Pki) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.apiserver.cert, made.apiserver.key)
    context.load_verify_locations(made.ca.cert)


@pytest.mark.parametrize(("damage", "changes", "reissued"), [
    pytest.param(lambda d: None, {"addresses": ["192.0.2.8"]}, {"apiserver", "kubelet", "metrics-server"}, id="a new address"),
    pytest.param(lambda d: (d / "admin.key").unlink(), {}, {"admin"}, id="a lost key reissues its certificate"),
    pytest.param(lambda d: shutil.copy(d / "proxy.key", d / "admin.key"), {}, {"admin"}, id="a key of another certificate"),
    pytest.param(lambda d: (d / "scheduler.crt").write_text("x"), {}, {"scheduler"}, id="an unreadable certificate"),
    pytest.param(lambda d: None, {"node_name": "node-2"}, {"apiserver", "kubelet", "kubelet-client"}, id="another node name"),
    pytest.param(lambda d: (d / "sa.pub").unlink(), {}, set(), id="the same public key is derived again"),
])
def test_repairs(copy: Path, damage, changes: dict[str, object], reissued: set[str]) -> None:
    before = contents(copy)
    damage(copy)
    ensure(copy, **changes)
    assert changed(before, copy) == reissued


def test_certificates_are_renewed_30_days_before_they_end_and_authorities_stay(copy: Path) -> None:
    before = contents(copy)
    ensure(copy, now=NOW + timedelta(days=336))
    assert {"ca", "front-proxy-ca", "sa"}.isdisjoint(changed(before, copy))
    assert {"apiserver", "admin", "kubelet", "front-proxy-client"} <= changed(before, copy)


def test_a_new_authority_reissues_everything_under_it(copy: Path, tmp_path: Path) -> None:
    other = ensure(tmp_path / "other")
    shutil.copy(other.ca.cert, copy / "ca.crt")
    shutil.copy(other.ca.key, copy / "ca.key")
    before = contents(copy)
    ensure(copy)
    assert "apiserver" in changed(before, copy)
    assert "front-proxy-client" not in changed(before, copy)


@pytest.mark.parametrize("damage", [
    pytest.param(lambda d: (d / "ca.key").write_bytes((d / "admin.key").read_bytes()), id="the authority's key is another one"),
    pytest.param(lambda d: (d / "ca.crt").write_text("x"), id="the authority cannot be read"),
    pytest.param(lambda d: ((d / "ca.key").unlink(), (d / "admin.crt").unlink()), id="an external authority cannot issue"),
    pytest.param(lambda d: (d / "sa.key").unlink(), id="a lost service-account key is not replaced silently"),
])
def test_what_would_break_a_cluster_is_an_error(copy: Path, damage) -> None:
    damage(copy)
    with pytest.raises(PkiError):
        ensure(copy)


def test_an_external_authority_is_enough_when_everything_is_issued(copy: Path) -> None:
    (copy / "ca.key").unlink()
    ensure(copy)


def test_kubeconfig(made: Pki, tmp_path: Path) -> None:
    path = tmp_path / "admin.kubeconfig"
    write_kubeconfig(path, "https://127.0.0.1:6443", made.ca.cert, made.admin.cert, made.admin.key, "kubernetes-admin")
    config = yaml.safe_load(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert config["current-context"] == "kubernetes-admin@kubepy"
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
