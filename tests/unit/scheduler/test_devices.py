"""Which devices claims get: tables of slices and requests."""
from __future__ import annotations

import pytest

from kubepy.scheduler.device.allocator import allocate, prepare
from kubepy.scheduler.device.pool import AllocationError
from kubepy.scheduler.device.state import Devices
from kubepy.scheduler.snapshot import Node

DRIVER = "gpu.example.com"
NODE = Node(0, "n1", {"zone": "a"}, (), False, {})


def device(name, memory="40Gi", **more):
    return {"name": name, "attributes": {"model": {"string": more.pop("model", "a100")}, "numa": {"int": more.pop("numa", 0)},
                                         "version": {"version": "1.2.3"}},
            "capacity": {"memory": {"value": memory}}, **more}


def slice_of(*devices, name="s1", pool="n1", count=1, generation=1, counters=(), **where):
    return {"metadata": {"name": name}, "spec": {
        "driver": DRIVER, "pool": {"name": pool, "generation": generation, "resourceSliceCount": count}, "devices": list(devices),
        **({"sharedCounters": list(counters)} if counters else {}), **(where or {"nodeName": "n1"})}}


def exactly(name="r", **more):
    expression = more.pop("cel", None)
    return {"name": name, "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1, **more,
                                      **({"selectors": [{"cel": {"expression": expression}}]} if expression else {})}}


def claim(*requests, name="c", constraints=(), config=(), status=None):
    return {"metadata": {"namespace": "default", "name": name, "uid": f"uid-{name}", "resourceVersion": "1"},
            "spec": {"devices": {"requests": list(requests), "constraints": list(constraints), "config": list(config)}},
            "status": status or {}}


def world(*slices, used=()):
    devices = Devices()
    devices.set_class("gpu", {"metadata": {"name": "gpu"}, "spec": {
        "selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}],
        "config": [{"opaque": {"driver": DRIVER, "parameters": {"a": 1}}}]}})
    for one in slices:
        devices.set_slice(one["metadata"]["name"], one)
    for index, results in enumerate(used):
        taken = claim(name=f"other{index}", status={"allocation": {"devices": {"results": results}}})
        devices.set_claim(f"default/other{index}", taken)
    return devices


def held(name, pool="n1", **more):
    return [{"request": "r", "driver": DRIVER, "pool": pool, "device": name, **more}]


def given(devices, *claims, node=NODE):
    """The devices each claim gets by request, or None."""
    wanted = [prepare(one, devices.classes) for one in claims]
    found = allocate(wanted, node, devices)
    return None if found is None else [[(r["request"], r["device"]) for r in result["devices"]["results"]] for result in found.results]


A, B, C = device("a"), device("b", model="h100", memory="80Gi", numa=1), device("c", numa=1)
BIG = 'device.capacity["gpu.example.com"].memory.compareTo(quantity("50Gi")) >= 0'
NEW = 'device.attributes["gpu.example.com"].version.isGreaterThan(semver("1.2.0"))'
TAINTED = device("t", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
COUNTERS = [{"name": "set", "counters": {"slots": {"value": "4"}}}]


def part(name, slots):
    return device(name, consumesCounters=[{"counterSet": "set", "counters": {"slots": {"value": str(slots)}}}])


def either(*subs):
    return {"name": "r", "firstAvailable": [{"name": f"s{index}", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1,
                                             **({"selectors": [{"cel": {"expression": sub}}]} if isinstance(sub, str) else sub)}
                                            for index, sub in enumerate(subs)]}


SHARED = device("m", allowMultipleAllocations=True)
SHARED["capacity"] = {"memory": {"value": "40Gi", "requestPolicy": {
    "default": "1Gi", "validRange": {"min": "1Gi", "max": "30Gi", "step": "2Gi"}}}}


def share(amount):
    return exactly(capacity={"requests": {"memory": amount}})


@pytest.mark.parametrize(("devices", "claims", "expected"), [
    pytest.param(world(slice_of(A, B)), [claim(exactly())], [[("r", "a")]], id="the first that matches"),
    pytest.param(world(slice_of(A, B)), [claim(exactly(cel=BIG))], [[("r", "b")]], id="one with the capacity asked for"),
    pytest.param(world(slice_of(A)), [claim(exactly(cel=NEW))], [[("r", "a")]], id="one with a newer version"),
    pytest.param(world(slice_of(A)), [claim(exactly(cel='has(device.attributes["other.com"].x)'))], None, id="a domain it does not know"),
    pytest.param(world(slice_of(A, B), used=[held("a")]), [claim(exactly())], [[("r", "b")]], id="not one that is taken"),
    pytest.param(world(slice_of(A), used=[held("a")]), [claim(exactly())], None, id="none left"),
    pytest.param(world(slice_of(A), used=[held("a", adminAccess=True)]), [claim(exactly())], [[("r", "a")]],
                 id="administrators take nothing"),
    pytest.param(world(slice_of(A), used=[held("a")]), [claim(exactly(adminAccess=True))], [[("r", "a")]], id="administrators see all"),
    pytest.param(world(slice_of(A, B, C)), [claim(exactly(count=2))], [[("r", "a"), ("r", "b")]], id="several"),
    pytest.param(world(slice_of(A, B, C)), [claim(exactly(count=4))], None, id="more than there are"),
    pytest.param(world(slice_of(A, B)), [claim(exactly()), claim(exactly(), name="d")], [[("r", "a")], [("r", "b")]], id="two claims"),
    pytest.param(world(slice_of(A, B)), [claim(exactly(), exactly("big", cel=BIG))], [[("r", "a"), ("big", "b")]], id="two requests"),
    pytest.param(world(slice_of(B, A)), [claim(exactly(), exactly("big", cel=BIG))], [[("r", "a"), ("big", "b")]],
                 id="the first choice is taken back when it leaves nothing for the second"),
    pytest.param(world(slice_of(A, B)), [claim({"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}})],
                 [[("r", "a"), ("r", "b")]], id="all of them"),
    pytest.param(world(slice_of(A, B), used=[held("b")]),
                 [claim({"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}})], None, id="all, but one is taken"),
    pytest.param(world(), [claim({"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}})], None,
                 id="all of nothing"),
    pytest.param(world(slice_of(A, B, C)), [claim(exactly(count=2), constraints=[{"matchAttribute": f"{DRIVER}/numa"}])],
                 [[("r", "b"), ("r", "c")]], id="with one attribute in common"),
    pytest.param(world(slice_of(A, B, C)), [claim(exactly(count=2), constraints=[{"matchAttribute": f"{DRIVER}/none"}])], None,
                 id="an attribute nobody has"),
    pytest.param(world(slice_of(B, C, A)), [claim(exactly(count=2), constraints=[{"distinctAttribute": f"{DRIVER}/numa"}])],
                 [[("r", "b"), ("r", "a")]], id="with different values of an attribute"),
    pytest.param(world(slice_of(A, B, C)), [claim(exactly("x"), exactly("y"), constraints=[
        {"requests": ["x"], "matchAttribute": f"{DRIVER}/numa"}])], [[("x", "a"), ("y", "b")]], id="a constraint on one request only"),
    pytest.param(world(slice_of(A, B)), [claim(either(BIG, "true"))], [[("r/s0", "b")]], id="the best alternative"),
    pytest.param(world(slice_of(A)), [claim(either(BIG, "true"))], [[("r/s1", "a")]], id="the second best"),
    pytest.param(world(slice_of(A, B)), [claim(either({"count": 3}, {"count": 2}))], [[("r/s1", "a"), ("r/s1", "b")]], id="fewer"),
    pytest.param(world(slice_of(TAINTED)), [claim(exactly())], None, id="a tainted one"),
    pytest.param(world(slice_of(TAINTED)), [claim(exactly(tolerations=[{"key": "k", "operator": "Exists"}]))], [[("r", "t")]],
                 id="a tainted one, tolerated"),
    pytest.param(world(slice_of(A, nodeName="n2")), [claim(exactly())], None, id="those of another node"),
    pytest.param(world(slice_of(A, pool="net", allNodes=True)), [claim(exactly())], [[("r", "a")]], id="those of all nodes"),
    pytest.param(world(slice_of(A, pool="net", nodeSelector={"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "zone", "operator": "In", "values": ["b"]}]}]})), [claim(exactly())], None, id="those of another zone"),
    pytest.param(world(slice_of({**A, "nodeName": "n2"}, {**B, "nodeName": "n1"}, pool="net", perDeviceNodeSelection=True)),
                 [claim(exactly())], [[("r", "b")]], id="each device says where it is"),
    pytest.param(world(slice_of(A, count=2)), [claim(exactly())], None, id="a pool that is not complete yet"),
    pytest.param(world(slice_of(A), slice_of(B, name="s2", generation=2)), [claim(exactly())], [[("r", "b")]], id="the newest generation"),
    pytest.param(world(slice_of(part("p", 3), part("q", 2), part("z", 1), counters=COUNTERS)), [claim(exactly(count=2))],
                 [[("r", "p"), ("r", "z")]], id="partitions within the shared counters"),
    pytest.param(world(slice_of(part("p", 3), part("q", 2), counters=COUNTERS), used=[held("p")]), [claim(exactly())], None,
                 id="partitions, the counters used up"),
    pytest.param(world(slice_of(SHARED)), [claim(share("20Gi")), claim(share("15Gi"), name="d")], [[("r", "m")], [("r", "m")]],
                 id="shares of one device"),
    pytest.param(world(slice_of(SHARED)), [claim(share("20Gi")), claim(share("20Gi"), name="d")], None, id="more shares than it has"),
    pytest.param(world(slice_of(SHARED)), [claim(share("31Gi"))], None, id="more than the policy allows"),
    pytest.param(world(slice_of(A)), [claim(share("41Gi"))], None, id="more than the whole device"),
])
def test_allocation(devices, claims, expected):
    assert given(devices, *claims) == expected


def test_what_is_written():
    devices = world(slice_of(SHARED))
    [result] = allocate([prepare(claim(share("20Gi"), config=[{"requests": ["r"], "opaque": {"driver": DRIVER, "parameters": {}}},
                                                            {"requests": ["x"], "opaque": {}}]), devices.classes)], NODE, devices).results
    [entry] = result["devices"]["results"]
    assert entry["consumedCapacity"] == {"memory": "21Gi"}  # one step above 20
    assert len(entry.pop("shareID")) == 36
    assert result["nodeSelector"] == {"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]}
    assert [(config["source"], config["requests"]) for config in result["devices"]["config"]] == [
        ("FromClass", ["r"]), ("FromClaim", ["r"])]


@pytest.mark.parametrize(("devices", "wanted", "message"), [
    pytest.param(world(slice_of(A)), claim(exactly(cel='device.attributes["gpu.example.com"].nothing == "x"')),
                 "claim default/c: runtime error: no such key: nothing", id="an expression that fails"),
    pytest.param(world(slice_of(A, A)), claim(exactly()), "is invalid: duplicate device name a", id="a pool that contradicts itself"),
    pytest.param(world(slice_of(A, count=2)), claim({"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}}),
                 "currently being updated", id="all of an incomplete pool"),
])
def test_what_cannot_be_judged(devices, wanted, message):
    with pytest.raises(AllocationError, match=message):
        given(devices, wanted)


def test_a_search_that_takes_too_long_is_given_up():
    devices = world(slice_of(*(device(f"d{index}", numa=index % 2) for index in range(60))))
    with pytest.raises(AllocationError, match="timed out"):
        given(devices, claim(exactly(count=15), exactly("x", cel="false")))


def test_a_class_that_does_not_exist():
    assert prepare(claim(exactly()), {}) == "request r: device class gpu does not exist"


def test_what_is_taken_follows_the_claims():
    devices = world(slice_of(A), used=[held("a")])
    before = devices.epoch("n1")
    assert given(devices, claim(exactly())) is None
    devices.set_claim("default/other0", claim(name="other0"))
    assert devices.epoch("n1") != before
    assert devices.epoch("n2") == world(slice_of(A)).epoch("n2")
    assert given(devices, claim(exactly())) == [[("r", "a")]]
    mine = claim(exactly())
    devices.set_claim("default/c", mine)
    devices.start(mine, {"devices": {"results": held("a")}})
    assert given(devices, claim(exactly(), name="d")) is None
    written = {**mine, "metadata": {**mine["metadata"], "resourceVersion": "7"},
               "status": {"allocation": {"devices": {"results": held("a")}}}}
    devices.assume("default/c", written)
    devices.stop("default/c", "uid-c")
    assert given(devices, claim(exactly(), name="d")) is None
    devices.set_claim("default/c", mine)  # an older state arrives late
    assert given(devices, claim(exactly(), name="d")) is None
    devices.set_claim("default/c", {**mine, "metadata": {**mine["metadata"], "resourceVersion": "8"}})
    assert given(devices, claim(exactly(), name="d")) == [[("r", "a")]]
    devices.set_slice("s1", None)
    assert given(devices, claim(exactly(), name="d")) is None


def test_rules_taint_devices_beside_their_drivers():
    devices = world(slice_of(A), slice_of(device("b"), name="s2", pool="p2"))
    before = devices.epoch("n1")

    def rule(effect, **selector):
        return {"metadata": {"name": "r"}, "spec": {"deviceSelector": selector, "taint": {"key": "k", "effect": effect}}}

    devices.set_rule("r", rule("NoSchedule", device="a"))
    assert devices.epoch("n1") != before
    assert given(devices, claim(exactly())) == [[("r", "b")]]
    assert given(devices, claim(exactly(tolerations=[{"operator": "Exists", "key": "k"}]))) == [[("r", "a")]]
    devices.set_rule("r", rule("NoExecute", driver=DRIVER))
    assert given(devices, claim(exactly())) is None
    devices.set_slice("s3", slice_of(device("c"), name="s3", pool="p3"))
    assert given(devices, claim(exactly())) is None
    devices.set_rule("r", rule("None", driver=DRIVER))
    assert given(devices, claim(exactly())) == [[("r", "a")]]
    devices.set_rule("r", rule("NoExecute", driver="other"))
    devices.set_rule("r", None)
    assert given(devices, claim(exactly())) == [[("r", "a")]]
