"""Joining: whom a machine believes, what a token says, who is granted what."""
from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import yaml
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from rich.console import Console

from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS
from kubepy.api.types import Object
from kubepy.cli.component import plan_components
from kubepy.cli.join import discovery, grant, identity, request, token
from kubepy.cli.join.discovery import NotYet, Untrusted, pin, verify
from kubepy.cli.pki import Pair
from kubepy.cli.pki.issue import Subject, make_ca, make_leaf, new_key, write_pair
from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings
from kubepy.client.memory import MemoryClient
from kubepy.client.serving import self_signed
from kubepy.controllers.bootstrap import signature
from kubepy.kubelet.certificate.store import Store

TOKEN = token.parse("abcdef.0123456789abcdef")
KEY = new_key()
CA = make_ca("kubernetes", KEY).public_bytes(serialization.Encoding.PEM)
OTHER_CA = make_ca("kubernetes", new_key()).public_bytes(serialization.Encoding.PEM)
SETTINGS = Settings(data_dir=Path("/data"), node_name="n2", node_ip="192.0.2.8", role="node", api_server="https://192.0.2.7:6443")


def info(ca: bytes = CA, server: str = "https://192.0.2.7:6443") -> str:
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()}
    return yaml.safe_dump({"kind": "Config", "clusters": [{"name": "", "cluster": cluster}]})


def signed(content: str, *, by: token.Token = TOKEN) -> Object:
    return {"kubeconfig": content, f"jws-kubeconfig-{TOKEN.id}": signature(by.id, by.secret, content)}


def test_a_signed_cluster_info_with_the_pinned_ca_is_believed() -> None:
    assert verify(signed(info()), TOKEN, [pin(OTHER_CA), pin(CA)]) == discovery.ClusterInfo("https://192.0.2.7:6443", CA)


@pytest.mark.parametrize(("data", "pins", "error"), [
    pytest.param({}, [pin(CA)], NotYet, id="nothing there yet"),
    pytest.param({"kubeconfig": info()}, [pin(CA)], NotYet, id="not signed with this token"),
    pytest.param(signed(info(), by=token.Token("abcdef", "f" * 16)), [pin(CA)], Untrusted, id="signed by someone else"),
    pytest.param({**signed(info()), "kubeconfig": info(server="https://203.0.113.6:6443")}, [pin(CA)], Untrusted, id="changed since"),
    pytest.param(signed(info(OTHER_CA)), [pin(CA)], Untrusted, id="another CA"),
    pytest.param(signed(info()), [], Untrusted, id="no CA is pinned"),
    pytest.param(signed(info(server="http://192.0.2.7:8080")), [pin(CA)], Untrusted, id="a server without TLS"),
    pytest.param(signed("- 1"), [pin(CA)], Untrusted, id="no kubeconfig"),
    pytest.param({"kubeconfig": info(), "jws-kubeconfig-abcdef": "eyJhbGciOiJub25lIn0.."}, [pin(CA)], Untrusted, id="algorithm none"),
])
def test_what_is_not_believed(data: Object, pins: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        verify(data, TOKEN, pins)


@pytest.mark.parametrize("text", ["", "abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde", "abcdef.0123456789abcdef\n"])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        token.parse(text)


def test_a_random_token_is_a_token_and_is_not_shown_by_accident() -> None:
    made = token.generate()
    assert token.parse(str(made)) == made
    assert made.secret not in repr(made)


def test_a_token_is_listed_as_it_was_made() -> None:
    secret = token.manifest(TOKEN, expires=10_000.0, description="a rack")
    assert secret["metadata"]["name"] == "bootstrap-token-abcdef"
    assert token.row(secret, 2_800.0) == (str(TOKEN), "2h", "1970-01-01T02:46:40Z", "authentication,signing", "a rack", token.GROUP)
    assert token.row(token.manifest(TOKEN, expires=None), 0.0)[1:3] == ("<forever>", "<never>")


@pytest.mark.parametrize("wrong", [{"usages": ["everything"]}, {"groups": ["system:masters"]}])
def test_a_token_cannot_be_made_for_more_than_joining(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError):
        token.manifest(TOKEN, expires=None, **wrong)


def test_who_joins_is_granted_only_this(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, data_dir=tmp_path, role="control-plane", api_server="")
    settings.pki_dir.mkdir()
    (settings.pki_dir / "ca.crt").write_bytes(CA)
    objects = [obj for _, obj in grant.plan_grants(settings)]
    given = {obj["roleRef"]["name"] for obj in objects
             if any(subject["name"] == token.GROUP for subject in obj.get("subjects", ()))}
    assert given == {"kubeadm:get-nodes", "system:node-bootstrapper", "kubepy:nodes-config", "kubepy:certificatesigningrequests:nodeproxy",
                     "kubepy:certificatesigningrequests:nodedns", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"}
    anonymous = [obj["roleRef"]["name"] for obj in objects if "roleRef" in obj and obj["subjects"][0]["name"] == "system:anonymous"]
    assert anonymous == ["kubeadm:bootstrap-signer-clusterinfo"]
    config = next(obj for obj in objects if obj["metadata"]["name"] == grant.CONFIG_NAME)
    assert grant.shared_settings(config)["service_cidr"] == settings.service_cidr
    assert grant.shared_settings(config)["dns"] is True
    older = {name: text for name, text in orjson.loads(config["data"][grant.CONFIG_KEY]).items() if not name.startswith("dns")}
    assert grant.shared_settings({"data": {grant.CONFIG_KEY: orjson.dumps(older).decode()}})["dns"] is False, "an older cluster has it on \
its control plane only"


def test_a_joined_node_runs_no_control_plane_and_asks_the_real_server() -> None:
    parts = {part.name: part for part in plan_components(SETTINGS)}
    assert list(parts) == ["containerd", "kubelet", "proxy", "dns"]
    assert "--listen=192.0.2.8:10053" in parts["dns"].argv
    without = dataclasses.replace(SETTINGS, dns=False)
    assert "dns" not in {part.name for part in plan_components(without)}
    assert [name for name, _ in identity.wanted(without)] == ["proxy"]
    assert SETTINGS.server == "https://192.0.2.7:6443"
    assert not any("ca.key" in word for part in parts.values() for word in part.argv)


async def test_a_certificate_is_asked_for_and_written(tmp_path: Path) -> None:
    client = MemoryClient()
    files = Pair(tmp_path / "a.crt", tmp_path / "a.key")
    with pytest.raises(TimeoutError):
        await request.obtain(client, request.proxy_client(), files, timeout=0.01)
    [made] = client.all(CERTIFICATE_SIGNING_REQUESTS)
    assert made["spec"]["signerName"] == "kubernetes.io/kube-apiserver-client"
    assert made["spec"]["usages"] == ["digital signature", "client auth"]
    assert not files.cert.exists()
    assert request.is_due(files)


def test_the_kubelet_of_a_joined_node_looks_after_its_own_certificates(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, data_dir=tmp_path)
    kubelet = next(part for part in plan_components(settings) if part.name == "kubelet")
    assert {f"--cert-dir={tmp_path}/pki/kubelet", "--rotate-certificates", "--rotate-server-certificates"} <= set(kubelet.argv)
    assert not any(word.startswith("--tls-cert-file") for word in kubelet.argv)
    assert not identity.serves(settings)
    Store(identity.kubelet_directory(settings), "kubelet-server").put(self_signed("n2"), 0.0)
    assert not identity.serves(settings), "one it has signed itself does not count"


@pytest.mark.parametrize(("text", "endpoint"), [
    ("192.0.2.7:6443", "192.0.2.7:6443"), ("192.0.2.7", "192.0.2.7:6443"), ("https://cp.example.com:443/", "cp.example.com:443"),
    ("cp", "cp:6443"), ("2001:db8::7", "[2001:db8::7]:6443"), ("[2001:db8::7]", "[2001:db8::7]:6443"),
    ("[2001:db8::7]:8443", "[2001:db8::7]:8443"), ("", ""), ("cp:x", ""), ("cp:", ""),
    ("cp:70000", ""), ("http://cp:6443", ""), ("a/b", ""),
])
def test_where_the_api_server_is(text: str, endpoint: str) -> None:
    if endpoint:
        assert discovery.parse_endpoint(text) == endpoint
        return
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        discovery.parse_endpoint(text)


async def test_a_server_of_another_time_makes_one_look_at_the_clock(tmp_path: Path) -> None:
    """A certificate that is not valid yet is no sign of another cluster."""
    key, ca_key = new_key(), new_key()
    later = datetime.now(UTC) + timedelta(days=3)
    authority = make_ca("kubernetes", ca_key, datetime.now(UTC))
    pair = Pair(tmp_path / "s.crt", tmp_path / "s.key")
    write_pair(pair, make_leaf(Subject("kube-apiserver", server=True, names=("127.0.0.1",)), key, authority, ca_key, later), key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)

    async def serve(request: web.BaseRequest) -> web.Response:
        return web.json_response({"data": content})

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server = f"127.0.0.1:{runner.addresses[0][1]}"
    pem = authority.public_bytes(serialization.Encoding.PEM)
    content = signed(info(pem, f"https://{server}"))
    try:
        with pytest.raises(Untrusted, match="is this machine's clock right"):
            await discovery.discover(server, TOKEN, [pin(pem)], asyncio.get_running_loop().time() + 5)
    finally:
        await runner.cleanup()


def test_what_is_said_is_said_as_it_is() -> None:
    """Brackets are no markup of the terminal's."""
    console = Console(file=io.StringIO(), width=200)
    progress = Progress(console)
    for say in (progress.fail, progress.warn, progress.done, progress.say):
        say("[a-z0-9]{6} at [fd00::1]:6443")
    assert console.file.getvalue().count("[a-z0-9]{6} at [fd00::1]:6443") == 4  # type: ignore[attr-defined]
