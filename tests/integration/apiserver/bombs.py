"""Bodies that are small and mean much."""

from __future__ import annotations


def bombs() -> dict[str, tuple[str, bytes]]:
    """Bodies that are small and mean much: media type and bytes."""
    deep = 100_000
    aliases = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + level)}: &{chr(98 + level)} [{','.join([f'*{chr(97 + level)}'] * 9)}]\n" for level in range(9)
    )
    head = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bomb"},"data":'
    return {
        "deep arrays": ("application/json", b"[" * deep),
        "deep arrays that end": ("application/json", (head + "[" * deep + "]" * deep + "}").encode()),
        "deep objects": ("application/json", (head + '{"a":' * deep + "1" + "}" * deep + "}").encode()),
        "deep yaml": ("application/yaml", b"a: " + b"[" * 20_000 + b"]" * 20_000),
        "deep yaml by dashes": ("application/yaml", b"- " * 50_000),
        "aliases": ("application/yaml", (aliases + "kind: ConfigMap\napiVersion: v1\nmetadata: {name: bomb}\ndata: {}\n").encode()),
        "an alias of itself": ("application/yaml", b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: bomb}\ndata: &a {x: *a}\n"),
        "yaml tags": ("application/yaml", b"kind: !!python/object/apply:os.system ['true']\n"),
        "merge keys": ("application/yaml", b"a: &a {b: 1}\nc: {<<: [*a, *a], <<: 3}\n"),
        "a large number": ("application/json", (head + '{"a":' + "9" * 1_000_000 + "}}").encode()),
        "a large exponent": ("application/json", (head + '{"a":1e999999999}}').encode()),
        "a large yaml number": ("application/yaml", ("kind: ConfigMap\napiVersion: v1\ndata: {a: " + "9" * 300_000 + "}\n").encode()),
        "yaml of many lists": ("application/yaml", b"a: [" + b"[]," * 1_000_000 + b"]\n"),
        "yaml of many maps": ("application/yaml", b"a: [" + b"{a: b}," * 400_000 + b"]\n"),
        "yaml of many keys": ("application/yaml", b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: bomb}\ndata:\n"
                              + b"".join(b"  k%d: v\n" % n for n in range(60_000))),
        "many keys": ("application/json", (head + "{" + ",".join(f'"k{n}":"v"' for n in range(150_000)) + "}}").encode()),
        "one key often": ("application/json", (head + "{" + ",".join('"k":"v"' for _ in range(200_000)) + "}}").encode()),
        "not UTF-8": ("application/json", head.encode() + b'{"\xff\xfe":"\xc3\x28"}}'),
        "lone surrogates": ("application/json", (head + '{"\\ud800":"\\udfff"}}').encode()),
        "protobuf": ("application/vnd.kubernetes.protobuf", b"k8s\x00" + b"\x0a\xff\xff\xff\xff\x0f" * 1000),
        "nested protobuf": ("application/vnd.kubernetes.protobuf", b"k8s\x00" + b"\x0a\x7f" * 50_000),
        "too much": ("application/json", b" " * (3 << 20) + b"{}"),
        "too many operations": (
            "application/json-patch+json",
            b"[" + b",".join([b'{"op":"add","path":"/data/a","value":"b"}'] * 20_000) + b"]",
        ),
        "copies of copies": (
            "application/json-patch+json",
            b'[{"op":"add","path":"/data","value":{"a":"'
            + b"x" * 1000
            + b'"}},'
            + b",".join(b'{"op":"copy","from":"/data","path":"/data/%d"}' % n for n in range(60))
            + b"]",
        ),
    }
