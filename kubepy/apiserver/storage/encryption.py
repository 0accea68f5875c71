"""Encryption at rest (`--encryption-provider-config`): secretbox, aescbc, aesgcm and identity, in upstream's stored forms.

A stored value is `k8s:enc:<provider>:v1:<key name>:` and the ciphertext; the key in etcd authenticates it where the cipher can
(aesgcm). Values are written with the first provider's first key and read with whichever matches, so keys rotate by putting the new
one first and rewriting; an update that changes nothing else still rewrites what was read with an old one.
With --encryption-provider-config-automatic-reload the file is read again when it changes. Differs from upstream: the `kms` providers
are refused.
"""
from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from typing import Any, Protocol

import yaml
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kubepy.api.resource import Resource
from kubepy.apiserver.storage.entry import Undecodable
from kubepy.apiserver.storage.secretbox import SecretBox
from kubepy.apiserver.storage.transform import IDENTITY, Transformer

_KINDS = ("EncryptionConfiguration", "EncryptionConfig")
_AES_SIZES = (16, 24, 32)


class ConfigError(ValueError):
    """The configuration cannot be used; says where and why."""


class Key(Protocol):
    """One key of one cipher. `open` raises ValueError for what it did not seal."""

    def seal(self, plain: bytes, context: bytes) -> bytes: ...

    def open(self, sealed: bytes, context: bytes) -> bytes: ...


class _AesGcm:
    """A random nonce of 12 bytes in front; the key in etcd is authenticated."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:12], sealed[12:], context)
        except InvalidTag as error:
            raise ValueError("authentication failed") from error


class _AesCbc:
    """A random vector of 16 bytes in front, PKCS#7 padding. The cipher does not authenticate."""

    def __init__(self, secret: bytes) -> None:
        self._algorithm = algorithms.AES(secret)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        vector = os.urandom(16)
        padder = padding.PKCS7(128).padder()
        encryptor = Cipher(self._algorithm, modes.CBC(vector)).encryptor()
        return vector + encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()

    def open(self, sealed: bytes, context: bytes) -> bytes:
        if len(sealed) < 32 or len(sealed) % 16:
            raise ValueError("the stored data is not a whole number of blocks")
        decryptor = Cipher(self._algorithm, modes.CBC(sealed[:16])).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        return unpadder.update(decryptor.update(sealed[16:]) + decryptor.finalize()) + unpadder.finalize()


_CIPHERS: dict[str, tuple[Callable[[bytes], Key], tuple[int, ...]]] = {
    "aesgcm": (_AesGcm, _AES_SIZES), "aescbc": (_AesCbc, _AES_SIZES), "secretbox": (SecretBox, (32,)),
}


class Encryption:
    """The `Transformer` of one resource: an ordered list of (prefix, key), `key` None standing for identity."""

    def __init__(self, keys: list[tuple[bytes, Key | None]]) -> None:
        self._keys = keys

    def write(self, key: bytes, plain: bytes) -> bytes:
        prefix, first = self._keys[0]
        return plain if first is None else prefix + first.seal(plain, key)

    def read(self, key: bytes, stored: bytes) -> tuple[bytes, bool]:
        encrypted = stored.startswith(b"k8s:enc:")
        why = "no provider matches"
        for index, (prefix, candidate) in enumerate(self._keys):
            if candidate is None:
                if not encrypted:
                    return stored, index > 0
            elif stored.startswith(prefix):
                try:
                    return candidate.open(stored[len(prefix):], key), index > 0
                except ValueError as error:
                    why = str(error)
        raise Undecodable(f"no matching key decrypts the stored value: {why}" if encrypted else "the stored value is not encrypted, and "
                          "the configuration does not allow that for reading (no identity provider)")


def load(path: str) -> Callable[[Resource], Transformer]:
    """Reads an EncryptionConfiguration; the result gives each resource's transformer. Raises ConfigError, OSError."""
    with open(path, "rb") as file:
        try:
            document = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not YAML: {error}") from error
    try:
        return parse(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


class Reloadable:
    """Gives each resource a transformer that goes by the configuration as it is now."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._choose = load(path)
        self._given: dict[Resource, _Current] = {}

    def __call__(self, resource: Resource) -> Transformer:
        found = self._given.get(resource)
        if found is None:
            found = self._given[resource] = _Current(self._choose(resource))
        return found

    def reload(self) -> None:
        """Raises ConfigError or OSError, and then nothing has changed."""
        self._choose = load(self._path)
        for resource, current in self._given.items():
            current.now = self._choose(resource)


class _Current:
    def __init__(self, now: Transformer) -> None:
        self.now = now

    def write(self, key: bytes, plain: bytes) -> bytes:
        return self.now.write(key, plain)

    def read(self, key: bytes, stored: bytes) -> tuple[bytes, bool]:
        return self.now.read(key, stored)


def parse(document: Any) -> Callable[[Resource], Transformer]:
    """The transformers that a decoded EncryptionConfiguration describes. Of several entries for a resource the first counts."""
    if not isinstance(document, dict) or document.get("kind") not in _KINDS:
        raise ConfigError("kind: must be EncryptionConfiguration")
    entries = document.get("resources")
    if not isinstance(entries, list) or not entries:
        raise ConfigError("resources: Required value: at least one")
    table: list[tuple[str, Encryption]] = []
    for index, entry in enumerate(entries):
        where = f"resources[{index}]"
        names, providers = (entry.get("resources"), entry.get("providers")) if isinstance(entry, dict) else (None, None)
        if not isinstance(names, list) or not names:
            raise ConfigError(f"{where}.resources: Required value")
        if not isinstance(providers, list) or not providers:
            raise ConfigError(f"{where}.providers: Required value")
        keys = [key for at, provider in enumerate(providers) for key in _provider(f"{where}.providers[{at}]", provider)]
        encryption = Encryption(keys)
        table += [(str(name), encryption) for name in names]

    def choose(resource: Resource) -> Transformer:
        for pattern, encryption in table:
            if _matches(pattern, resource):
                return encryption
        return IDENTITY

    return choose


def _matches(pattern: str, resource: Resource) -> bool:
    """`secrets`, `configmaps.`, `widgets.example.com`, `*.apps`, `*.` (the core group), `*.*`."""
    plural, _, group = pattern.lower().partition(".")
    return plural in ("*", resource.plural) and (group == resource.group or (plural == "*" and group == "*"))


def _provider(where: str, provider: Any) -> list[tuple[bytes, Key | None]]:
    if not isinstance(provider, dict) or len(provider) != 1:
        raise ConfigError(f"{where}: must name exactly one provider")
    name, settings = next(iter(provider.items()))
    if name == "identity":
        return [(b"", None)]
    if name not in _CIPHERS:
        raise ConfigError(f"{where}: provider {name!r} is not supported; use secretbox, aesgcm, aescbc or identity")
    make, sizes = _CIPHERS[name]
    keys = settings.get("keys") if isinstance(settings, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ConfigError(f"{where}.{name}.keys: Required value")
    found: list[tuple[bytes, Key | None]] = []
    for index, key in enumerate(keys):
        at = f"{where}.{name}.keys[{index}]"
        label, secret = (key.get("name"), key.get("secret")) if isinstance(key, dict) else (None, None)
        if not label or not isinstance(label, str) or ":" in label:
            raise ConfigError(f"{at}.name: Required value, without colons")
        try:
            raw = base64.b64decode(str(secret or ""), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(f"{at}.secret: must be base64") from None
        if len(raw) not in sizes:
            raise ConfigError(f"{at}.secret: must be {' or '.join(map(str, sizes))} bytes, is {len(raw)}")
        found.append((f"k8s:enc:{name}:v1:{label}:".encode(), make(raw)))
    return found
