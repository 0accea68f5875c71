from __future__ import annotations

import base64
from typing import Any

import pytest

from kubepy.api.resource import CONFIGMAPS, DEPLOYMENTS, PODS, SECRETS
from kubepy.apiserver.storage.encryption import ConfigError, parse
from kubepy.apiserver.storage.entry import Undecodable
from kubepy.apiserver.storage.secretbox import SecretBox, xsalsa20
from kubepy.apiserver.storage.transform import IDENTITY, Transformer

KEY = b"/registry/secrets/default/a"


def cipher(name: str, *keys: str) -> dict[str, Any]:
    return {name: {"keys": [{"name": key, "secret": base64.b64encode(key.encode().ljust(32, b"-")).decode()} for key in keys]}}


def transformer(*providers: dict[str, Any]) -> Transformer:
    return parse({"kind": "EncryptionConfiguration", "resources": [{"resources": ["secrets"], "providers": list(providers)}]})(SECRETS)


@pytest.mark.parametrize("plain", [b"{}", b"x" * 15, b"x" * 16, b"x" * 5_000], ids=["short", "15 bytes", "a block", "long"])
@pytest.mark.parametrize("name", ["aescbc", "aesgcm", "secretbox"])
def test_what_is_written_can_be_read(name: str, plain: bytes) -> None:
    one = transformer(cipher(name, "key1"), {"identity": {}})
    stored = one.write(KEY, plain)
    assert stored.startswith(f"k8s:enc:{name}:v1:key1:".encode())
    assert plain not in stored
    assert stored != one.write(KEY, plain)
    assert one.read(KEY, stored) == (plain, False)
    assert one.read(KEY, plain) == (plain, True)


@pytest.mark.parametrize("name", ["aesgcm", "secretbox"])
def test_what_was_tampered_with_is_refused(name: str) -> None:
    one = transformer(cipher(name, "key1"))
    stored = one.write(KEY, b"plain text")
    with pytest.raises(Undecodable):
        one.read(KEY, stored[:-1] + bytes([stored[-1] ^ 1]))


def test_aesgcm_binds_the_value_to_its_key() -> None:
    one = transformer(cipher("aesgcm", "key1"))
    with pytest.raises(Undecodable):
        one.read(b"/registry/secrets/default/b", one.write(KEY, b"plain"))


def test_keys_rotate() -> None:
    old = transformer(cipher("aescbc", "old"))
    both = transformer(cipher("secretbox", "new"), cipher("aescbc", "old"))
    new = transformer(cipher("secretbox", "new"))
    stored = old.write(KEY, b"plain")
    assert both.read(KEY, stored) == (b"plain", True)
    assert new.read(KEY, both.write(KEY, b"plain")) == (b"plain", False)
    with pytest.raises(Undecodable):
        new.read(KEY, stored)


def test_plain_values_need_the_identity_provider() -> None:
    with pytest.raises(Undecodable, match="not encrypted"):
        transformer(cipher("aesgcm", "key1")).read(KEY, b"{}")
    with pytest.raises(Undecodable):
        transformer({"identity": {}}).read(KEY, b"k8s:enc:aesgcm:v1:key1:xyz")


def test_secretbox_is_nacls() -> None:
    """The vector of NaCl's own tests (secretbox.c)."""
    key = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    assert xsalsa20(key, nonce, 32).hex() == "eea6a7251c1e72916d11c2cb214d3c252539121d8e234e652d651fa4c8cff880"
    sealed = bytes.fromhex(
        "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011"
        "ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de"
        "56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5"
    )
    opened = SecretBox(key).open(nonce + sealed, b"")
    assert opened.hex().startswith("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc")


@pytest.mark.parametrize(("pattern", "matched"), [
    ("secrets", {SECRETS}), ("deployments.apps", {DEPLOYMENTS}), ("*.apps", {DEPLOYMENTS}), ("*.", {SECRETS, CONFIGMAPS, PODS}),
    ("*.*", {SECRETS, CONFIGMAPS, PODS, DEPLOYMENTS}), ("deployments", set()),
], ids=["a core resource", "one of a group", "a group", "the core group", "everything", "the group must be named"])
def test_which_resources_are_encrypted(pattern: str, matched: set[object]) -> None:
    choose = parse({"kind": "EncryptionConfiguration", "resources": [{"resources": [pattern], "providers": [cipher("aesgcm", "k")]}]})
    assert {resource for resource in (SECRETS, CONFIGMAPS, PODS, DEPLOYMENTS) if choose(resource) is not IDENTITY} == matched


@pytest.mark.parametrize(("providers", "why"), [
    ([], r"resources\[0\]\.providers: Required value"),
    ([{"kms": {"name": "x"}}], "'kms' is not supported"),
    ([{"aesgcm": {"keys": []}}], "keys: Required value"),
    ([{"aesgcm": {"keys": [{"name": "a", "secret": "!"}]}}], "must be base64"),
    ([{"secretbox": {"keys": [{"name": "a", "secret": "YWJj"}]}}], "must be 32 bytes, is 3"),
    ([{"aesgcm": {"keys": [{"name": "a:b", "secret": "YWJj"}]}}], "without colons"),
], ids=["no providers", "kms", "no keys", "no base64", "a short key", "a colon in the name"])
def test_what_is_wrong_with_a_configuration_is_said(providers: list[Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse({"kind": "EncryptionConfiguration", "resources": [{"resources": ["secrets"], "providers": providers}]})
