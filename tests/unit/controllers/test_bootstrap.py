"""Bootstrap tokens: cluster-info is signed by each that may sign, expired ones go."""
from __future__ import annotations

import base64
import hashlib
import hmac

from credentials import TOKEN_SECRET, token
from rig import Rig

from kubepy.api.resource import CONFIGMAPS, SECRETS
from kubepy.base.clock import format_time
from kubepy.controllers import bootstrap


def test_the_signature_is_a_detached_jws() -> None:
    header, payload, tail = bootstrap.signature("abcdef", TOKEN_SECRET, "content").split(".")
    assert payload == ""
    whole = f"{header}.{base64.urlsafe_b64encode(b'content').rstrip(b'=').decode()}".encode()
    expected = base64.urlsafe_b64encode(hmac.new(TOKEN_SECRET.encode(), whole, hashlib.sha256).digest()).rstrip(b"=").decode()
    assert tail == expected


async def test_tokens_sign_until_they_expire_and_are_removed() -> None:
    async with Rig(bootstrap.signer, bootstrap.cleaner) as rig:
        soon = format_time(rig.clock.now() + 60)
        for secret in (token("aaaaaa"), token("bbbbbb", expiration=soon), token("cccccc", **{"usage-bootstrap-signing": "false"})):
            await rig.client.create(SECRETS, secret)
        await rig.client.create(CONFIGMAPS, {"metadata": {"name": "cluster-info", "namespace": "kube-public"}, "data": {"kubeconfig": "k"}})
        await rig.settle()
        assert sorted(rig.client.all(CONFIGMAPS)[0]["data"]) == ["jws-kubeconfig-aaaaaa", "jws-kubeconfig-bbbbbb", "kubeconfig"]
        await rig.settle(61)
        assert sorted(rig.client.all(CONFIGMAPS)[0]["data"]) == ["jws-kubeconfig-aaaaaa", "kubeconfig"]
        assert [item["metadata"]["name"] for item in rig.client.all(SECRETS)] == ["bootstrap-token-aaaaaa", "bootstrap-token-cccccc"]
