"""Random objects through every hook of every kind: whatever is in them, nothing but complaints comes of it. `KUBEPY_TEST_SEED` repeats."""
from __future__ import annotations

import copy
import os
import random
import time
from typing import Any

from kubepy.api.errors import ApiError
from kubepy.api.schema.decode import DecodeError, decode
from kubepy.api.schema.shape import of_api_version
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.optional import OPTIONAL
from kubepy.apiserver.registry.table import KINDS
from kubepy.apiserver.request import Context, RequestInfo, User
from tests.integration.apiserver.hostile import Maker

SEED = int(os.environ.get("KUBEPY_TEST_SEED", "0")) or int(time.time())
ROUNDS = 12
"""Pairs of objects of each kind: some seconds in all."""


def made(make: Maker, kind: Kind) -> dict[str, Any] | None:
    shape = of_api_version(kind.resource.api_version, kind.resource.kind)
    try:
        found, _ = decode(shape, make.body(kind, "n", "ns"), validation="Ignore") if shape is not None else (None, None)
    except DecodeError:
        return None
    if found is not None:
        kind.strategy.fill(found)
    return found


def updated(strategy: Strategy, context: Context, old: dict[str, Any], new: dict[str, Any]) -> None:
    strategy.prepare_update(context, new, copy.deepcopy(old))
    strategy.settle(new)
    strategy.validate_update(context, new, old)


def test_nothing_but_complaints() -> None:
    print(f"KUBEPY_TEST_SEED={SEED}")
    make = Maker(random.Random(SEED))
    for kind in (*KINDS, *(item.kind for item in OPTIONAL)):
        if "create" not in kind.verbs or kind.handler is not None:
            continue
        context = Context(User("me"), RequestInfo("/", "create"), kind)
        for _ in range(ROUNDS):
            old, new = made(make, kind), made(make, kind)
            if old is None or new is None:
                continue
            try:
                live(kind, context, old, new)
            except ApiError:
                continue
            except Exception as error:
                raise AssertionError(f"{kind.resource.kind}: {old}\n→ {new}") from error


def live(kind: Kind, context: Context, old: dict[str, Any], new: dict[str, Any]) -> None:
    strategy = kind.strategy
    first = copy.deepcopy(old)
    strategy.prepare_create(context, first)
    strategy.settle(first)
    assert all(str(error) for error in strategy.validate(context, first))
    strategy.warnings(context, first, None)
    updated(strategy, context, old, copy.deepcopy(new))
    strategy.warnings(context, new, old)
    status = copy.deepcopy(new)
    strategy.prepare_status(context, status, copy.deepcopy(old))
    strategy.validate_status(context, status, old)
    for subresource in kind.subresources:
        if subresource.strategy is not None:
            updated(subresource.strategy, context, old, copy.deepcopy(new))
    for column in kind.columns:
        column.cell(old, 1e9)
    for field in kind.selectable.values():
        field(old)
