"""What a hostile or careless client may send: objects made from the schema, mutations of them, patches, selectors, raw bytes."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote

import orjson

from kubepy.api.schema.definitions import kinds
from kubepy.api.schema.shape import Struct, Type
from kubepy.apiserver.registry.kind import Kind
from tests.integration.apiserver.sane import SANE

TEXTS = (
    "",
    "a",
    "x-1",
    "Always",
    "ClusterIP",
    "None",
    "TCP",
    "10.0.0.1",
    "fd00::1",
    "10.0.0.0/8",
    "80%",
    "100m",
    "1Gi",
    "v1",
    "apps/v1",
    "Pod",
    "kubernetes.io/os",
    "In",
    "Exists",
    "NoSchedule",
    "2026-01-01T00:00:00Z",
    "*/5 * * * *",
    "object.spec.x == 1",
    "[0].x",
    "$(A)",
    "-",
    ".",
    "..",
    "/",
    "%",
    "a/b/c",
    "A" * 64,
    "a" * 254,
    "ü",
    "\u2028",
    "\x00",
    "\ud7ff",
    "💥" * 20,
    "<none>",
    "${jndi:x}",
    "{.metadata.name}",
    "0",
    "-1",
    "1e400",
    "0x10",
    "9" * 400,
    "((((((((a+)+)+)+)+)+)+)+)+$",
    "^(a|a)*$",
    "\\",
    '"',
    "'",
    "\n",
    " ",
)
NUMBERS = (0, 1, -1, 2, 80, 443, 65535, 65536, 2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**63 - 1, -(2**63), 2**63, 1.5, -0.0, 1e300)
WRONG: tuple[Any, ...] = (None, True, False, "", "text", 0, -1, 1.5, [], {}, [None], [[]], [{}], {"": None}, {"a": {"b": []}}, 2**63, 1e308)
QUANTITIES = ("1", "100m", "1Gi", "0", "-1", "1e3", "1E", "9" * 300, "1.5e-400", "0.0000000001", "12Ei", "", "abc", 1, 2.5)
MAX_DEPTH = 7


class Maker:
    """Random objects of built-in kinds: mostly of the right types, often with values no human would write."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.wrong = 0.0
        """How probable it is that a value is of the wrong type: so that half of the objects come to be validated."""

    def body(self, kind: Kind, name: str, namespace: str) -> dict[str, Any]:
        resource = kind.resource
        definition = kinds().get((resource.group, resource.version, resource.kind))
        self.wrong = self.rng.choice((0, 0, 0, 0.01))
        sane = SANE.get(resource.plural)
        obj: dict[str, Any] = {}
        if sane is not None and self.rng.random() < 0.7:
            obj = self.rng.choice((sane, self.mutate(sane), self.mutate(self.mutate(sane))))
            obj = obj if isinstance(obj, dict) else {}
        elif definition:
            found = self.value(Type("struct", definition=definition), 0)
            obj = found if isinstance(found, dict) else {}
        metadata = {"name": name, **({"namespace": namespace} if resource.namespaced else {})}
        if self.rng.random() < 0.3:
            given = obj.get("metadata")
            metadata = {**(given if isinstance(given, dict) else {}), **metadata}
        return {**obj, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}

    def value(self, type_: Type, depth: int) -> Any:
        rng = self.rng
        if rng.random() < self.wrong:
            return rng.choice(WRONG)
        kind = type_.kind
        if kind == "struct":
            return self.struct(type_.struct, depth)
        if kind == "array":
            assert type_.item is not None
            return [self.value(type_.item, depth + 1) for _ in range(rng.choice((0, 1, 1, 2, 3)) if depth < MAX_DEPTH else 0)]
        if kind == "map":
            assert type_.item is not None
            return {rng.choice(TEXTS): self.value(type_.item, depth + 1) for _ in range(rng.choice((0, 1, 2)) if depth < MAX_DEPTH else 0)}
        if kind == "boolean":
            return rng.random() < 0.5
        if kind in ("int32", "int64", "number"):
            return rng.choice(NUMBERS if self.wrong else NUMBERS[:9] if kind == "int32" else NUMBERS[:15])
        if kind == "quantity":
            return rng.choice(QUANTITIES)
        if kind == "int-or-string":
            return rng.choice((*NUMBERS[:6], "80%", "http", "", "x" * 20))
        if kind in ("time", "micro-time"):
            return rng.choice(
                ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "now", "")
            )
        if kind == "bytes":
            return rng.choice(("", "YQ==", "YQ", "\x00", "Y" * 400))
        if kind == "string":
            return rng.choice(TEXTS)
        return rng.choice(({"a": 1}, [1], "x", 3, None, {"type": "object"}, True, [{"b": None}]))

    def struct(self, shape: Struct, depth: int) -> Any:
        share = 0.75 if depth < 2 else 0.35
        return {
            name: self.value(field.type, depth + 1)
            for name, field in shape.fields.items()
            if name not in ("metadata", "apiVersion", "kind")
            and depth < MAX_DEPTH
            and self.rng.random() < (0.9 if field.required else share)
        }

    def mutate(self, value: Any) -> Any:
        """The value with one of its parts replaced, removed, doubled or moved; shares what is unchanged."""
        rng = self.rng
        if isinstance(value, dict) and value and rng.random() < 0.85:
            key = rng.choice(list(value))
            choice = rng.random()
            if choice < 0.7:
                return {**value, key: self.mutate(value[key])}
            if choice < 0.8:
                return {name: item for name, item in value.items() if name != key}
            return {**value, rng.choice(TEXTS): value[key]}
        if isinstance(value, list) and value and rng.random() < 0.85:
            at = rng.randrange(len(value))
            return rng.choice(([*value[:at], self.mutate(value[at]), *value[at + 1 :]], value[:at], [*value, value[at]], [*value, *value]))
        return rng.choice((*WRONG, *TEXTS, *NUMBERS))

    def patch(self, obj: dict[str, Any]) -> tuple[str, bytes]:
        """A media type and a body."""
        rng = self.rng
        kind = rng.choice(("json", "merge", "strategic", "apply"))
        if kind == "json":
            operations = [
                {
                    "op": rng.choice(("add", "remove", "replace", "move", "copy", "test", "no")),
                    "path": self.pointer(obj),
                    "from": self.pointer(obj),
                    "value": rng.choice((*WRONG, *TEXTS)),
                }
                for _ in range(rng.choice((1, 2, 5)))
            ]
            return "application/json-patch+json", dump(rng.choice((operations, operations, operations, self.mutate(operations))))
        changed = self.mutate(self.mutate(obj))
        if not isinstance(changed, dict):
            changed = obj
        if kind == "merge":
            return "application/merge-patch+json", dump(changed)
        if kind == "apply":
            return "application/apply-patch+yaml", dump(changed)
        return "application/strategic-merge-patch+json", dump(self.directives(changed, 0))

    def directives(self, value: Any, depth: int) -> Any:
        rng = self.rng
        if isinstance(value, list):
            return [self.directives(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: self.directives(item, depth + 1) for key, item in value.items()}
        if rng.random() < 0.1:
            found["$patch"] = rng.choice(("replace", "delete", "merge", 3, None))
        if rng.random() < 0.05:
            found["$retainKeys"] = rng.choice((list(value), [], "x", [1]))
        if value and rng.random() < 0.1:
            key = rng.choice(list(value))
            found[f"$setElementOrder/{key}"] = rng.choice((value[key], [], [{"name": "a"}], "x", [{}], [None]))
        if value and rng.random() < 0.05:
            found[f"$deleteFromPrimitiveList/{rng.choice(list(value))}"] = rng.choice((["a"], [], "x", [{}], None))
        return found

    def pointer(self, value: Any) -> str:
        parts: list[str] = []
        while isinstance(value, (dict, list)) and value and self.rng.random() < 0.8:
            key = self.rng.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
            value = value[key]
            parts.append(str(key).replace("~", "~0").replace("/", "~1"))
        return self.rng.choice(("", "/")) + "/".join(parts) + self.rng.choice(("", "", "", "/-", "/99999999999999999999", "/~", "/x/y"))

    def query(self, applying: bool = False) -> str:
        """A query string, mostly of parameters that mean something."""
        rng = self.rng
        if rng.random() < 0.6:
            return "?fieldManager=m&force=true" if applying else ""
        label = rng.choice(
            ("a=b", "a in (b,c)", "!a", "a!=b", "a>1", "a in (", "((", "a" * 300, "a=b,,c", "=", "a in (b" + ",b" * 500 + ")", *TEXTS)
        )
        field = rng.choice(("metadata.name=a", "spec.nodeName!=x", "a=b", "metadata.name=\\,", "=", "a==b==c", "status.phase=,", *TEXTS))
        number = rng.choice(("0", "1", "-1", "10", "99999999999999999999", "9" * 5000, "1e3", "x", "", "0x1", "+5", " 1", "١"))
        token = rng.choice(("", "x", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0", "%00", "é", "eyJ2", "===="))
        choices = {
            "labelSelector": label,
            "fieldSelector": field,
            "limit": number,
            "resourceVersion": number,
            "continue": token,
            "timeoutSeconds": rng.choice(("1", number)),
            "resourceVersionMatch": rng.choice(("Exact", "NotOlderThan", "x")),
            "dryRun": rng.choice(("All", "", "x")),
            "fieldManager": rng.choice(TEXTS),
            "force": rng.choice(("true", "false", "x")),
            "fieldValidation": rng.choice(("Strict", "Warn", "Ignore", "x")),
            "pretty": rng.choice(("true", "x")),
            "watch": rng.choice(("0", "false")),
            "includeObject": rng.choice(("None", "Object", "Metadata", "x")),
            "gracePeriodSeconds": number,
            "orphanDependents": number,
            "propagationPolicy": rng.choice(("Orphan", "Foreground", "x")),
            "sendInitialEvents": rng.choice(("true", "x")),
            "": "x",
        }
        names = rng.sample(sorted(choices), rng.choice((0, 1, 1, 2, 4)))
        text = "&".join(f"{name}={quote(choices[name], safe='') if rng.random() < 0.9 else '%zz;%ff'}" for name in names)
        return f"?{text}" if text else ""

    def bytes(self, body: bytes) -> bytes:
        """A body with some of its bytes changed."""
        data = bytearray(body)
        for _ in range(self.rng.choice((1, 2, 8))):
            at = self.rng.randrange(len(data) + 1)
            data[at : at + self.rng.choice((0, 1, 3))] = self.rng.choice(
                (b"", b"\xff", b"\xc0\x80", b"{", b"]", b'"', b"\\ud800", b"\x00", b"1e999", b",,")
            )
        return bytes(data)


def dump(value: Any) -> bytes:
    """JSON, numbers beyond 64 bits included."""
    try:
        return orjson.dumps(value)
    except TypeError:
        import json

        return json.dumps(value, ensure_ascii=True).encode()
