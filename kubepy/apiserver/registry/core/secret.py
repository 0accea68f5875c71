"""Secret: confidential data; stringData becomes data (`pkg/registry/core/secret`)."""
from __future__ import annotations

import base64
import binascii
import json

from kubepy.api import field, name
from kubepy.api.field import Errors, FieldError, Path
from kubepy.api.resource import SECRETS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, column
from kubepy.apiserver.registry.core.configmap import MAX_SIZE, decoded_size, frozen
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_DATA = Path("data")
_REDACTED = "<secret contents redacted>"
_REQUIRED_KEYS = {"kubernetes.io/tls": ("tls.crt", "tls.key")}


class SecretStrategy(Strategy):
    updates_whole = True

    def fill(self, obj: Object) -> None:
        obj.setdefault("type", "Opaque")
        texts = obj.pop("stringData", None)
        if texts:
            data = obj.setdefault("data", {})
            for key, text in texts.items():
                data[key] = base64.b64encode(text.encode()).decode()

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        if obj.get("type", "") == "" and old.get("type"):
            obj["type"] = old["type"]

    def validate(self, context: Context, obj: Object) -> Errors:
        errors: Errors = []
        data = obj.get("data") or {}
        for key in sorted(data):
            errors += [field.invalid(_DATA.key(key), key, message) for message in name.config_key(key)]
        if sum(decoded_size(text) for text in data.values()) > MAX_SIZE:
            errors.append(field.too_long(_DATA, MAX_SIZE))
        return errors + _of_type(obj, data)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = check.immutable(obj.get("type"), old.get("type"), Path("type"))
        return errors + frozen(obj, old, ("data",)) + self.validate(context, obj)


def _of_type(obj: Object, data: Object) -> Errors:
    kind = obj.get("type")
    if kind == "kubernetes.io/service-account-token":
        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        return check.need(annotations.get("kubernetes.io/service-account.name"),
                          Path("metadata.annotations").key("kubernetes.io/service-account.name"))
    if kind in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"):
        key = "." + kind.removeprefix("kubernetes.io/")
        return _json(data, key)
    if kind == "kubernetes.io/basic-auth":
        if "username" in data or "password" in data:
            return []
        return [field.required(_DATA.key("username")), field.required(_DATA.key("password"))]
    if kind == "kubernetes.io/ssh-auth":
        return check.need(data.get("ssh-privatekey"), _DATA.key("ssh-privatekey"))
    return [field.required(_DATA.key(key)) for key in _REQUIRED_KEYS.get(kind or "", ()) if key not in data]


def _json(data: Object, key: str) -> Errors:
    if key not in data:
        return [field.required(_DATA.key(key))]
    try:
        json.loads(base64.b64decode(data[key]))
    except (ValueError, binascii.Error) as error:
        return [_bad_json(key, base64.b64decode(data[key]), error)]
    return []


def _bad_json(key: str, content: bytes, error: Exception) -> FieldError:
    text = content.decode("utf-8", "replace")
    place = getattr(error, "pos", 0)
    ended = place >= len(text.rstrip()) or text.rstrip() == "{"
    why = "unexpected end of JSON input" if ended else f"invalid character '{text[place]}' looking for beginning of value"
    return field.invalid(_DATA.key(key), _REDACTED, why)


KIND = Kind(
    SECRETS,
    "secret",
    SecretStrategy(),
    columns=(
        NAME,
        column("Type", "string", "=core.v1.Secret.type", lambda obj: obj.get("type", "")),
        column("Data", "string", "=core.v1.Secret.data", lambda obj: len(obj.get("data") or ())),
        AGE,
    ),
    selectable={"type": lambda obj: obj.get("type", "")},
    unknown_field="field label not supported: {field}",
)
