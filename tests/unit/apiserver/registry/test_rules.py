"""What the built-in kinds refuse: `rules.yaml` has objects that are fine, and a rule a case as a change of one and the server's words."""
from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubepy.apiserver.registry.table import by_resource
from kubepy.apiserver.request import Context, RequestInfo, User

Change = dict[str, Any]
RULES = yaml.safe_load(Path(__file__).with_name("rules.yaml").read_text())
GOOD: dict[str, dict[str, Any]] = {obj["kind"]: obj for obj in RULES["good"]}
REFUSED = [(case["kind"], case["change"], case["words"]) for case in RULES["refused"]]
STATUSES = [(case["status"], case["old"], case["words"]) for case in RULES["statuses"]]
DEVICE = {"driver": "d", "pool": "p", "device": "x"}


@functools.cache
def _kinds() -> dict[str, Any]:
    return {kind.resource.kind: kind for kind in by_resource().values()
            if kind.resource.kind in GOOD and not kind.resource.version.startswith("v1beta")}


def changed(kind: str, change: Change) -> dict[str, Any]:
    """Paths of keys and numbers, with the values to put there."""
    obj = copy.deepcopy(GOOD[kind])
    for path, value in change.items():
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        holder: Any = obj
        for key in parents:
            holder = holder[key] if isinstance(key, int) else holder.setdefault(key, {})
        holder[last] = value
    _kinds()[kind].strategy.default(obj)
    return obj


def context(kind: str, verb: str = "create") -> Context:
    return Context(User("me"), RequestInfo("/", verb), _kinds()[kind])


def told(kind: str, change: Change) -> list[str]:
    return [str(error) for error in _kinds()[kind].strategy.validate(context(kind), changed(kind, change))]


@pytest.mark.parametrize("kind", GOOD)
def test_good_objects_pass(kind: str) -> None:
    assert told(kind, {}) == []


@pytest.mark.parametrize(("kind", "change", "words"), REFUSED, ids=[f"{kind} {words}" for kind, _, words in REFUSED])
def test_what_is_refused(kind: str, change: Change, words: str) -> None:
    found = told(kind, change)
    assert any(words in error for error in found), found


@pytest.mark.parametrize(("kind", "change", "words"), [
    ("ResourceSlice", {"spec.devices": [{"name": f"d{number}", "taints": [{"key": "k", "effect": "None"}]} for number in range(65)]},
     "spec.devices: Too many: 65: must have at most 64 items"),
    ("ResourceClaim", {"spec.devices.config": [{"opaque": {"driver": "d", "parameters": {"a": "b" * 10240}}}]},
     "opaque.parameters: Too long: may not be more than 10240 bytes"),
    ("Service", {"spec.ports": [{"name": f"p{number}", "port": number} for number in range(1, 120)]}, ""),
])
def test_limits(kind: str, change: Change, words: str) -> None:
    found = told(kind, change)
    assert any(words in error for error in found) if words else not found, found


@pytest.mark.parametrize(("status", "old", "words"), STATUSES, ids=[words for _, _, words in STATUSES])
def test_what_the_status_of_a_claim_may_not_say(status: Change, old: Change, words: str) -> None:
    new, before = changed("ResourceClaim", {"status": status}), changed("ResourceClaim", {"status": old})
    found = _kinds()["ResourceClaim"].strategy.validate_status(context("ResourceClaim", "update"), new, before)
    assert any(words in str(error) for error in found), found


def test_what_drivers_said_of_devices_goes_with_the_allocation() -> None:
    allocation = {"devices": {"results": [{**DEVICE, "request": "r"}]}}
    old = changed("ResourceClaim", {"status": {"allocation": allocation, "devices": [DEVICE]}})
    new = changed("ResourceClaim", {"status": {"devices": [DEVICE]}})
    _kinds()["ResourceClaim"].strategy.prepare_status(context("ResourceClaim", "update"), new, old)
    assert "devices" not in new["status"]
