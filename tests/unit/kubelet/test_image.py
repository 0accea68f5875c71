"""Images: who may use what is here, whose credentials are tried, and the programs that are asked for them."""
from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from kubepy.api.resource import SERVICE_ACCOUNTS
from kubepy.base.clock import VirtualClock
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.image.account import Accounts
from kubepy.kubelet.image.manager import ImageError, Images
from kubepy.kubelet.image.provider import Providers, load_providers
from kubepy.kubelet.image.record import Records
from kubepy.kubelet.settings import SettingsError
from kubepy.kubelet.volume.token import Tokens
from tests.unit.kubelet.test_plan import container, pod

IMAGE = "registry.example/team/app:1"


def secret(password: str, name: str = "s") -> dict[str, Any]:
    auths = orjson.dumps({"auths": {"registry.example": {"username": "u", "password": password}}})
    return {"type": "kubernetes.io/dockerconfigjson", "metadata": {"name": name, "namespace": "default", "uid": name},
            "data": {".dockerconfigjson": base64.b64encode(auths).decode()}}


class Registry(FakeRuntime):
    """Lets in who has the password."""

    def __init__(self, password: str) -> None:
        super().__init__(VirtualClock())
        self.password = password
        self.asked: list[str] = []

    async def pull_image(self, image: str, auth: pb.AuthConfig | None, sandbox: pb.PodSandboxConfig | None) -> str:
        self.asked.append(auth.password if auth is not None else "")
        if self.password and (auth is None or auth.password != self.password):
            raise CriError("UNKNOWN", f'failed to pull and unpack image "{image}": authorization failed')
        return self.add_image(image).id


async def ensure(images: Images, secrets: list[dict[str, Any]], policy: str = "IfNotPresent", uid: str = "u") -> list[str]:
    events: list[str] = []
    spec = pod(container(image=IMAGE, imagePullPolicy=policy))
    spec["metadata"]["uid"] = uid
    await images.ensure(spec, spec["spec"]["containers"][0], secrets, lambda kind, reason, message: events.append(reason))
    return events


async def test_an_image_pulled_with_credentials_is_not_for_pods_without_them(tmp_path: Path) -> None:
    runtime = Registry("right")
    images = Images(runtime, runtime.clock, records=Records(str(tmp_path), "NeverVerifyPreloadedImages", ()))
    assert await ensure(images, [secret("right")]) == ["Pulling", "Pulled"]
    assert await ensure(images, [secret("right", "another")], uid="v") == ["Pulled"], "the same credentials in another secret"
    with pytest.raises(ImageError, match="authorization failed"):
        await ensure(images, [], uid="w")
    with pytest.raises(ImageError, match="does not have the proper credentials") as refused:
        await ensure(images, [secret("wrong", "wrong")], "Never", uid="x")
    assert refused.value.reason == "ErrImageNeverPull"
    assert runtime.asked == ["right", ""]


@pytest.mark.parametrize(("policy", "pulls"), [("NeverVerifyPreloadedImages", 0), ("AlwaysVerify", 1), ("NeverVerify", 0),
                                               ("NeverVerifyAllowlistedImages", 0)])
async def test_an_image_that_was_there_before(tmp_path: Path, policy: str, pulls: int) -> None:
    runtime = Registry("")
    runtime.add_image(IMAGE)
    images = Images(runtime, runtime.clock, records=Records(str(tmp_path), policy, ("registry.example/team/*",)))
    await ensure(images, [])
    assert len(runtime.asked) == pulls


@pytest.mark.parametrize(("parallel", "together"), [(1, 1), (2, 2), (None, 3)])
async def test_so_many_pulls_at_once(parallel: int | None, together: int) -> None:
    most = now = 0

    class Slow(Registry):
        async def pull_image(self, image: str, auth: pb.AuthConfig | None, sandbox: pb.PodSandboxConfig | None) -> str:
            nonlocal most, now
            now += 1
            most = max(most, now)
            for _ in range(20):
                await asyncio.sleep(0)
            now -= 1
            return self.add_image(image).id

    runtime = Slow("")
    images = Images(runtime, runtime.clock, parallel=parallel)
    await asyncio.gather(*(ensure(images, [], "Always", uid=str(index)) for index in range(3)))
    assert most == together


SCRIPT = """#!/bin/sh
cat > "$OUT/request"; echo called >> "$OUT/calls"
printf '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry",'
printf '"cacheDuration":"10m","auth":{"registry.example/team":{"username":"u","password":"%s"}}}' "$1"
"""


def configuration(directory: Path, **changes: Any) -> str:
    program = directory / "helper"
    program.write_text(SCRIPT)
    program.chmod(0o755)
    entry = {"name": "helper", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "matchImages": ["*.example"], "args": ["right"],
             "defaultCacheDuration": "1m", "env": [{"name": "OUT", "value": str(directory)}], **changes}
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump({"kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1", "providers": [entry]}))
    return str(path)


async def test_a_plugin_is_asked_once_for_a_registry_and_its_credentials_pull(tmp_path: Path) -> None:
    runtime = Registry("right")
    providers = Providers(load_providers(configuration(tmp_path), str(tmp_path)), runtime.clock)
    images = Images(runtime, runtime.clock, providers=providers)
    await ensure(images, [])
    await ensure(images, [], "Always", uid="v")
    assert runtime.asked == ["right", "right"]
    assert (tmp_path / "calls").read_text().split() == ["called"]
    assert orjson.loads((tmp_path / "request").read_bytes()) == {
        "kind": "CredentialProviderRequest", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "image": IMAGE}
    assert await providers.credentials("registry.other/app:1", POD) == []


TOKENS = {"serviceAccountTokenAudience": "registry", "cacheType": "ServiceAccount", "requireServiceAccount": True,
          "requiredServiceAccountAnnotationKeys": ["role"], "optionalServiceAccountAnnotationKeys": ["zone"]}
POD = {"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": {"serviceAccountName": "puller", "containers": []}}


async def test_a_plugin_gets_a_token_of_the_pods_account_and_what_it_gives_is_for_that_account(tmp_path: Path) -> None:
    runtime, client = Registry("right"), MemoryClient()
    for name, notes in (("puller", {"role": "reader", "other": "x"}), ("second", {"role": "reader"}), ("bare", {})):
        client.load(SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
            "name": name, "namespace": "d", "uid": f"uid-{name}", "annotations": notes}})
    accounts = Accounts(client, Tokens(client, runtime.clock))
    providers = Providers(load_providers(configuration(tmp_path, tokenAttributes=TOKENS), str(tmp_path)), runtime.clock, accounts)
    images = Images(runtime, runtime.clock, providers=providers, records=Records(str(tmp_path), "AlwaysVerify", ()))

    async def pull(account: str, uid: str) -> None:
        found = {"metadata": {"name": "p", "namespace": "d", "uid": uid}, "spec": {"serviceAccountName": account}}
        await images.ensure(found, {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}, [], lambda *said: None)

    await pull("puller", "1")
    request = orjson.loads((tmp_path / "request").read_bytes())
    assert (request["serviceAccountAnnotations"], bool(request["serviceAccountToken"])) == ({"role": "reader"}, True)
    await pull("puller", "2")
    assert (len((tmp_path / "calls").read_text().split()), runtime.asked) == (1, ["right"])
    await pull("second", "3")
    assert len((tmp_path / "calls").read_text().split()) == 2, "an answer is for one account alone"
    with pytest.raises(ImageError, match="authorization failed"):
        await pull("bare", "4")


@pytest.mark.parametrize(("changes", "problem"), [
    ({"matchImages": []}, "at least 1 item in matchImages"), ({"apiVersion": "v9"}, "apiVersion: Unsupported value"),
    ({"name": "none"}, "did not exist"), ({"tokenAttributes": {"serviceAccountTokenAudience": "a"}}, "cacheType is required"),
    ({"tokenAttributes": {**TOKENS, "requireServiceAccount": False}}, "requireServiceAccount cannot be false"),
    ({"defaultCacheDuration": None}, "defaultCacheDuration is required"),
], ids=["no images", "an unknown version", "no such program", "no cache of tokens", "annotations without an account", "no cache duration"])
def test_a_configuration_that_cannot_be_used_is_refused_at_start(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_providers(configuration(tmp_path, **changes), str(tmp_path))


async def test_a_plugin_that_fails_has_no_credentials(tmp_path: Path) -> None:
    providers = Providers(load_providers(configuration(tmp_path), str(tmp_path)), VirtualClock())
    (tmp_path / "helper").write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    assert await providers.credentials(IMAGE, POD) == []
