"""The command lines and order of a cluster's parts."""
from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from kubepy.cli.component import Component, plan_components
from kubepy.cli.prepare import prepare_identities
from kubepy.cli.settings import Settings
from kubepy.cli.up import parser, settings_from

SETTINGS = Settings(data_dir=Path("/data"), node_name="n1", node_ip="192.0.2.7")


def parts(settings: Settings) -> dict[str, Component]:
    return {part.name: part for part in plan_components(settings)}


def test_every_part_starts_after_what_it_needs() -> None:
    seen: set[str] = set()
    for part in plan_components(SETTINGS):
        assert set(part.after) <= seen, part.name
        seen.add(part.name)
    assert seen == {"etcd", "containerd", "apiserver", "scheduler", "controller-manager", "kubelet", "proxy", "dns", "metrics-server"}


@pytest.mark.parametrize(("settings", "absent"), [
    pytest.param({"etcd_servers": "https://192.0.2.9:2379"}, "etcd", id="etcd given"),
    pytest.param({"runtime_endpoint": "unix:///run/x.sock"}, "containerd", id="runtime given"),
])
def test_what_the_user_brings_is_not_started_and_not_waited_for(settings: dict[str, str], absent: str) -> None:
    planned = parts(Settings(data_dir=Path("/data"), node_name="n1", node_ip="192.0.2.7", **settings))
    assert absent not in planned
    assert all(absent not in part.after for part in planned.values())


def test_no_part_gets_a_secret_on_its_command_line() -> None:
    for part in plan_components(SETTINGS):
        assert not any("PRIVATE" in word or "token=" in word for word in part.argv)


def test_etcd_asks_every_client_for_a_certificate() -> None:
    argv = parts(SETTINGS)["etcd"].argv
    assert "--client-cert-auth" in argv
    assert "--peer-client-cert-auth" in argv
    assert not any(word.startswith("--listen-client-urls=http:") for word in argv)


def test_dns_listens_where_its_service_points() -> None:
    assert "--listen=192.0.2.7:10053" in parts(SETTINGS)["dns"].argv


def test_addresses_of_the_well_known_services() -> None:
    assert (SETTINGS.service_ip, SETTINGS.dns_ip) == ("10.96.0.1", "10.96.0.10")


def test_settings_survive_a_round_trip(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, node_name="n", pod_cidr="10.9.0.0/16", workers=2)
    settings.save()
    assert Settings.load(tmp_path) == settings
    assert Settings.load(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(("names", "fine"), [
    ("k8s.example.org,*.example.org,192.0.2.9,2001:db8::9", True), ("", True), ("k8s_example", False), ("https://example.org", False),
], ids=["names and addresses", "none", "no DNS name", "a URL"])
def test_further_names_of_the_api_servers_certificate(tmp_path: Path, names: str, fine: bool) -> None:
    options = parser().parse_args([f"--data-dir={tmp_path}", f"--apiserver-cert-extra-sans={names}", "--node-ip=192.0.2.7"])
    if not fine:
        with pytest.raises(ValueError, match="not a valid IP address"):
            settings_from(options)
        return
    settings = settings_from(options)
    prepare_identities(settings)
    cert = x509.load_pem_x509_certificate((settings.pki_dir / "apiserver.crt").read_bytes())
    found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(filter(None, names.split(","))) <= {str(name.value) for name in found}


def test_an_etcd_of_the_users_own_is_reached_with_its_certificates() -> None:
    settings = Settings(data_dir=Path("/data"), etcd_servers="https://192.0.2.9:2379", etcd_cafile="/e/ca",
                        etcd_certfile="/e/c", etcd_keyfile="/e/k")
    argv = parts(settings)["apiserver"].argv
    assert {"--etcd-servers=https://192.0.2.9:2379", "--etcd-cafile=/e/ca", "--etcd-certfile=/e/c", "--etcd-keyfile=/e/k"} <= set(argv)


def test_optional_groups_reach_whoever_must_know(tmp_path: Path) -> None:
    chosen = ["--runtime-config=storagemigration.k8s.io/v1beta1=true", "--feature-gates=StorageVersionMigrator=true"]
    planned = parts(settings_from(parser().parse_args([f"--data-dir={tmp_path}", "--node-ip=192.0.2.7", *chosen])))
    assert set(chosen) <= set(planned["apiserver"].argv)
    assert all(chosen[1] in planned[name].argv and chosen[0] not in planned[name].argv for name in ("controller-manager", "scheduler"))
    assert not any(word.startswith(("--runtime-config", "--feature-gates")) for part in parts(SETTINGS).values() for word in part.argv)


@pytest.mark.parametrize(("flag", "reason"), [
    ("--runtime-config=nobody.example.org/v1=true", "unknown api groups nobody.example.org"),
    ("--runtime-config=apps/v1=maybe", "must be true or false"),
    ("--feature-gates=NoSuchGate=true", "unrecognized feature gate: NoSuchGate"),
    ("--feature-gates=StorageVersionMigrator", "missing bool value"),
])
def test_groups_and_features_that_nobody_knows(tmp_path: Path, flag: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        settings_from(parser().parse_args([f"--data-dir={tmp_path}", "--node-ip=192.0.2.7", flag]))
