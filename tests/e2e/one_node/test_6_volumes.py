"""What the conformance suite demands of volumes ([sig-storage]): each demand is a pod of ours, and most of them run at once.

The API operations of the group's kinds (PersistentVolume, claims, StorageClass, CSI kinds, VolumeAttachment, VolumeAttributesClass) are
the recorded conversations'; inline CSI volumes are in tests/integration/kubelet.
"""
from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.batch import Batch, Case, Result, case, container
from tests.e2e.cluster import Cluster, Failed, eventually

NS = "volumes"
LIMITED = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}
SHOW = "cd /v; for f in $(find . -follow -type f -not -path './..*' | sort); do echo $f $(stat -L -c %a $f) $(cat $f); done; id -u"
MODE = "stat -L -c %a /v"


def mounted(volume: Any, *prints: str, command: str = SHOW, metadata: Any = None, pod: Any = None, **fields: Any) -> Case:
    """A pod that shows what it sees of one volume at /v."""
    mount = {"name": "v", "mountPath": "/v", **fields.pop("mount", {})}
    spec = {"volumes": [{"name": "v", **volume}], **(pod or {})}
    return case(command, *prints, metadata=metadata, spec=spec, volumeMounts=[mount], **fields)


def keyed(kind: str, name: str) -> dict[str, Case]:
    """The cases that ConfigMap and Secret volumes have in common, plain and projected."""
    items = [{"key": "data-2", "path": "path/to/data-2"}]

    def plain(more: Any) -> Any:
        return {kind: {"name" if kind == "configMap" else "secretName": name, **more}}

    def projected(more: Any) -> Any:
        more = dict(more)
        outer = {"defaultMode": more.pop("defaultMode")} if "defaultMode" in more else {}
        return {"projected": {**outer, "sources": [{kind: {"name": name, **more}}]}}

    found = {}
    for way, volume in (("", plain), ("projected ", projected)):
        title = f"{way}{kind}"
        found |= {
            f"{title}: every key": mounted(volume({}), "./data-1 644 value-1", "./data-2 644 value-2", "0"),
            f"{title}: not root": mounted(volume({}), "./data-1 644 value-1", "1000", pod={"securityContext": {"runAsUser": 1000}}),
            f"{title}: default mode": mounted(volume({"defaultMode": 0o400}), "./data-1 400 value-1"),
            f"{title}: not root, with mode and group": mounted(
                volume({"defaultMode": 0o440}), "./data-1 440 value-1", "1000",
                pod={"securityContext": {"runAsUser": 1000, "fsGroup": 1001}}),
            f"{title}: paths of one's own": mounted(volume({"items": items}), "./path/to/data-2 644 value-2"),
            f"{title}: paths and modes of one's own": mounted(
                volume({"items": [{**items[0], "mode": 0o400}]}), "./path/to/data-2 400 value-2"),
            f"{title}: in two places": case(
                "cat /v1/data-1 /v2/data-1; echo", "value-1value-1", spec={"volumes": [{"name": n, **volume({})} for n in ("v1", "v2")]},
                volumeMounts=[{"name": n, "mountPath": f"/{n}", "readOnly": True} for n in ("v1", "v2")]),
        }
    return found


def field(path: str, name: str = "file", **more: Any) -> Any:
    return {"path": name, "fieldRef": {"fieldPath": path}, **more}


def resource(name: str) -> Any:
    return {"path": "file", "resourceFieldRef": {"containerName": "c", "resource": name}}


def downward() -> dict[str, Case]:
    found = {}
    ways = (("downwardAPI", lambda items, **more: {"downwardAPI": {"items": items, **more}}),
            ("projected downwardAPI", lambda items, **more: {"projected": {"sources": [{"downwardAPI": {"items": items}}], **more}}))
    for title, volume in ways:
        found |= {
            f"{title}: the pod's name": mounted(volume([field("metadata.name")]), r"./file 644 case-\d+"),
            f"{title}: default mode": mounted(volume([field("metadata.name")], defaultMode=0o400), r"./file 400 case-\d+"),
            f"{title}: a file's mode": mounted(volume([field("metadata.name", mode=0o400)]), r"./file 400 case-\d+"),
            **{f"{title}: {name}": mounted(volume([resource(name)]), f"./file 644 {value}", resources=LIMITED) for name, value in (
                ("limits.cpu", "2"), ("requests.cpu", "1"), ("limits.memory", str(64 << 20)), ("requests.memory", str(32 << 20)))},
            **{f"{title}: {name} that is not set": mounted(volume([resource(name)]), "./file 644 [1-9][0-9]*")
               for name in ("limits.cpu", "limits.memory")},
        }
    return found


def empty() -> dict[str, Case]:
    found = {}
    for medium, more in (("disk", {}), ("memory", {"medium": "Memory"})):
        found[f"emptyDir on {medium}: its mode"] = mounted(
            {"emptyDir": more}, *(("1777", "tmpfs") if more else ("777", "(?!tmpfs).*")),
            command=f"{MODE}; grep ' /v ' /proc/mounts | cut -d' ' -f3")
        for who, user in (("root", 0), ("another user", 1001)):
            found |= {f"emptyDir on {medium}: a file of mode {mode} of {who}": mounted(
                {"emptyDir": more}, f"{mode} {user} x",
                command=f"echo x >/v/f; chmod {mode} /v/f; echo $(stat -c '%a %u' /v/f) $(cat /v/f)",
                pod={"securityContext": {"runAsUser": user}}) for mode in ("644", "666", "777")}
    found["emptyDir: shared by containers"] = Case(
        {"containers": [container("sleep 1; echo hello >/v/f", name="writer", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                        container("until cat /v/f 2>/dev/null; do sleep 0.2; done", volumeMounts=[{"name": "v", "mountPath": "/v"}])],
         "volumes": [{"name": "v", "emptyDir": {}}]}, ("hello",))
    return found


def subpaths() -> dict[str, Case]:
    volumes = {"configMap": {"configMap": {"name": "conf"}}, "secret": {"secret": {"secretName": "hidden"}},
               "projected": {"projected": {"sources": [{"configMap": {"name": "conf"}}]}}}
    found = {f"subPath of a {kind}": mounted(volume, "value-1", command="cat /file", mount={"mountPath": "/file", "subPath": "data-1"})
             for kind, volume in volumes.items()}
    found["subPath of a downwardAPI"] = mounted({"downwardAPI": {"items": [field("metadata.namespace")]}}, f"{NS}-[0-9a-f]+",
                                                command="cat /file", mount={"mountPath": "/file", "subPath": "file"})
    found["subPath over a file of the image"] = mounted(volumes["configMap"], "value-1", command="cat /etc/passwd",
                                                        mount={"mountPath": "/etc/passwd", "subPath": "data-1"})
    return found


CASES = {
    **keyed("configMap", "conf"), **keyed("secret", "hidden"), **downward(), **empty(), **subpaths(),
    "configMap: binary data": mounted({"configMap": {"name": "binary"}}, "00000000  ff fe 00 41.*", "t",
                                      command="hexdump -C /v/raw; cat /v/text"),
    "secret: one of the same name in another namespace": mounted({"secret": {"secretName": "shared"}}, "./key 644 here"),
    "projected: everything at once": mounted({"projected": {"sources": [
        {"configMap": {"name": "conf", "items": [{"key": "data-1", "path": "c"}]}}, {"secret": {"name": "hidden", "items": [
            {"key": "data-1", "path": "s"}]}}, {"downwardAPI": {"items": [field("metadata.namespace", "d")]}}]}},
        "./c 644 value-1", "./s 644 value-1", f"./d 644 {NS}-[0-9a-f]+"),
    "a secret and a configMap beside each other": case(
        "cat /c/data-1 /s/data-1; echo", "value-1value-1",
        spec={"volumes": [{"name": "c", "configMap": {"name": "conf"}}, {"name": "s", "secret": {"secretName": "hidden"}}]},
        volumeMounts=[{"name": name, "mountPath": f"/{name}"} for name in ("c", "s")]),
    "many configMap volumes in one pod": case(
        "cat /m/*/data-1 | tr -d '\\n' | wc -c", str(7 * 30),
        spec={"volumes": [{"name": f"m{n}", "configMap": {"name": "conf"}} for n in range(30)]},
        volumeMounts=[{"name": f"m{n}", "mountPath": f"/m/{n}"} for n in range(30)]),
}


def bytes_of(kind: str, name: str, values: dict[str, str], **more: Any) -> Any:
    data = values if kind == "ConfigMap" else {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data, **more}


@pytest.fixture(scope="module")
def batch(one_node: Cluster) -> Iterator[Batch]:
    found, other = Batch(one_node, NS), Batch(one_node, f"{NS}-2")
    values = {"data-1": "value-1", "data-2": "value-2"}
    binary = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "binary"}, "data": {"text": "t"},
              "binaryData": {"raw": base64.b64encode(b"\xff\xfe\x00A").decode()}}
    found.apply(bytes_of("ConfigMap", "conf", values), bytes_of("Secret", "hidden", values), binary,
                bytes_of("Secret", "shared", {"key": "here"}),
                *(bytes_of(kind, "fixed", values, immutable=True) for kind in ("ConfigMap", "Secret")))
    other.apply(bytes_of("Secret", "shared", {"key": "elsewhere"}))
    yield found
    found.delete()
    other.delete()


@pytest.fixture(scope="module")
def results(batch: Batch) -> dict[str, Result]:
    return batch.run(CASES)


@pytest.mark.parametrize("title", CASES)
def test_what_a_pod_sees_of_a_volume(results: dict[str, Result], title: str) -> None:
    CASES[title].check(results[title])


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_what_is_immutable_cannot_be_changed(batch: Batch, kind: str) -> None:
    for patch in ({"data": {"data-1": "eA=="}}, {"immutable": False}):
        with pytest.raises(Failed, match="field is immutable"):
            batch.kubectl("patch", kind, "fixed", "--type=merge", "-p", json.dumps(patch))
    batch.kubectl("label", kind, "fixed", "may=change", "--overwrite")


WATCH = "while true; do for f in $(find -L /v -type f | grep -v '/\\.\\.'); do echo $f=$(cat $f); done; echo; sleep 1; done"


def test_changes_reach_running_pods(batch: Batch, results: dict[str, Result], repeated: bool) -> None:
    """ConfigMaps and Secrets (plain, projected, optional), labels and annotations: changed, deleted and created while a pod looks on."""
    volumes: dict[str, Any] = {}
    for kind, key in (("configMap", "name"), ("secret", "secretName")):
        for what in ("changed", "deleted", "created"):
            volumes[f"{kind.lower()}-{what}"] = {kind: {key: what, "optional": True}}
            volumes[f"p-{kind.lower()}-{what}"] = {"projected": {"sources": [{kind: {"name": what, "optional": True}}]}}
    items = [field("metadata.labels", "labels"), field("metadata.annotations", "annotations")]
    volumes |= {"down": {"downwardAPI": {"items": items}}, "p-down": {"projected": {"sources": [{"downwardAPI": {"items": items}}]}}}
    if repeated:
        batch.kubectl("delete", "pod/looking", "configmap/created", "secret/created", "--grace-period=0", "--force", "--ignore-not-found")
    for kind in ("ConfigMap", "Secret"):
        batch.apply(bytes_of(kind, "changed", {"data": "before"}), bytes_of(kind, "deleted", {"data": "there"}))
    batch.apply(batch.pod("looking", {
        "containers": [container(WATCH, volumeMounts=[{"name": name, "mountPath": f"/v/{name}"} for name in volumes])],
        "volumes": [{"name": name, **volume} for name, volume in volumes.items()]}, labels={"state": "old"}, annotations={"state": "old"}))
    batch.kubectl("wait", "--for=condition=Ready", "pod/looking", "--timeout=150s")

    def seen() -> dict[str, str]:
        """The last round that was written to its end."""
        rounds = batch.kubectl("logs", "looking", "--tail=100").split("\n\n")
        return dict(line.partition("=")[::2] for line in rounds[-2].splitlines()) if len(rounds) > 2 else {}

    prefixes = [f"/v/{way}{kind}-" for way in ("", "p-") for kind in ("configmap", "secret")]
    before = {f"{prefix}{what}/data": value for prefix in prefixes for what, value in (("changed", "before"), ("deleted", "there"))}

    def settled() -> bool:
        now = seen()
        return before.items() <= now.items() and not any("created" in file for file in now)
    eventually("what there was", settled, 120, 1.0)
    for kind in ("ConfigMap", "Secret"):
        batch.apply(bytes_of(kind, "changed", {"data": "after"}), bytes_of(kind, "created", {"data": "new"}))
        batch.kubectl("delete", kind, "deleted")
    batch.kubectl("label", "pod", "looking", "state=new", "--overwrite")
    batch.kubectl("annotate", "pod", "looking", "state=new", "--overwrite")

    def arrived() -> bool:
        now = seen()
        return all(now.get(f"{prefix}changed/data") == "after" and now.get(f"{prefix}created/data") == "new"
                   and f"{prefix}deleted/data" not in now for prefix in prefixes) and all(
            'state="new"' in now.get(f"/v/{way}down/{file}", "") for way in ("", "p-") for file in ("labels", "annotations"))
    eventually("everything has arrived", arrived, 240, 1.0)
    batch.kubectl("delete", "pod", "looking", "--grace-period=0", "--force", "--wait=false")


def test_a_subpath_that_cannot_be_expanded_waits_until_it_can(batch: Batch, results: dict[str, Result], repeated: bool) -> None:
    if repeated:
        batch.kubectl("delete", "pods", "absolute", "ticks", "--grace-period=0", "--force", "--ignore-not-found")

    def spec(expression: str) -> Any:
        return {"containers": [container("echo done >/sub/file; sleep 600", env=[{"name": "KEY", "valueFrom": {
            "fieldRef": {"fieldPath": "metadata.annotations['mysubpath']"}}}],
            volumeMounts=[{"name": "v", "mountPath": "/sub", "subPathExpr": expression}])], "volumes": [{"name": "v", "emptyDir": {}}]}

    batch.apply(batch.pod("absolute", spec("$(KEY)"), annotations={"mysubpath": "/tmp"}),
                batch.pod("ticks", spec("$(KEY)"), annotations={"mysubpath": "..$(KEY)"}))

    def waiting(name: str) -> str:
        statuses = batch.get("pod", name)["status"].get("containerStatuses") or [{}]
        return str(((statuses[0].get("state") or {}).get("waiting") or {}).get("reason", ""))
    eventually("an absolute path is refused", lambda: waiting("absolute") == "CreateContainerConfigError")
    batch.kubectl("annotate", "pod", "absolute", "mysubpath=good", "--overwrite")
    batch.kubectl("wait", "--for=condition=Ready", "pod/absolute", "--timeout=120s")
    batch.kubectl("delete", "pod", "absolute", "ticks", "--grace-period=0", "--force", "--wait=false")
