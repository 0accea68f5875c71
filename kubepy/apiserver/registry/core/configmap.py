"""ConfigMap: configuration data (`pkg/registry/core/configmap`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import CONFIGMAPS
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

MAX_SIZE = 1024 * 1024
_SET = "field is immutable when `immutable` is set"


class ConfigMapStrategy(Strategy):
    updates_whole = True

    def validate(self, context: Context, obj: Object) -> Errors:
        errors: Errors = []
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        size = 0
        for key in sorted(data):
            errors += [field.invalid(Path("data").key(key), key, message) for message in name.config_key(key)]
            if key in binary:
                errors.append(field.invalid(Path("data").key(key), key, "duplicate of key present in binaryData"))
            size += len(data[key].encode())
        for key in sorted(binary):
            errors += [field.invalid(Path("binaryData").key(key), key, message) for message in name.config_key(key)]
            size += decoded_size(binary[key])
        if size > MAX_SIZE:
            errors.append(field.FieldError("[]", "FieldValueTooLong", f"Too long: may not be more than {MAX_SIZE} bytes"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return frozen(obj, old, ("data", "binaryData")) + self.validate(context, obj)


def decoded_size(text: str) -> int:
    """Bytes that a base64 text stands for."""
    return len(text) * 3 // 4 - text.count("=", -2 if len(text) > 1 else 0)


def frozen(obj: Object, old: Object, keys: tuple[str, ...]) -> Errors:
    """What an immutable ConfigMap or Secret refuses."""
    if not old.get("immutable"):
        return []
    errors = [] if obj.get("immutable") else [field.forbidden(Path("immutable"), _SET)]
    return errors + [field.forbidden(Path(key), _SET) for key in keys if (obj.get(key) or {}) != (old.get(key) or {})]


KIND = Kind(
    CONFIGMAPS,
    "configmap",
    ConfigMapStrategy(),
    columns=(
        NAME,
        column("Data", "string", "=core.v1.ConfigMap.data", lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ())),
        AGE,
    ),
    short_names=("cm",),
)
