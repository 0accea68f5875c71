"""The table of kinds: consistent with itself and with the published definitions."""
from __future__ import annotations

from collections import Counter

import pytest

from kubepy.api.schema.shape import of_kind
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.optional import OPTIONAL
from kubepy.apiserver.registry.table import KINDS as DEFAULT

KINDS = (*DEFAULT, *(item.kind for item in OPTIONAL))
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.resource.group or 'core'}/{kind.resource.plural}")
VERBS = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}


def test_no_resource_twice() -> None:
    counted = Counter(kind.resource for kind in KINDS)
    assert [resource for resource, count in counted.items() if count > 1] == []


def test_short_names_are_unambiguous_in_a_group() -> None:
    counted = Counter((kind.resource.group, kind.resource.version, short) for kind in KINDS for short in kind.short_names)
    assert [short for short, count in counted.items() if count > 1] == []


@EVERY
def test_is_a_published_kind(kind: Kind) -> None:
    assert of_kind(kind.resource.group, kind.resource.version, kind.resource.kind) is not None


@EVERY
def test_is_well_formed(kind: Kind) -> None:
    assert kind.singular == kind.resource.kind.lower()
    assert kind.resource.plural == kind.resource.plural.lower()
    assert set(kind.verbs) <= VERBS
    names = [sub.name for sub in kind.subresources]
    assert names == sorted(set(names))
    assert kind.columns == () or kind.columns[0].name in ("Name", "Last Seen")
    assert len({column.name for column in kind.columns}) == len(kind.columns)
    assert (kind.stored_as is None) == (kind.conversion is None)


@EVERY
def test_status_is_reset_where_it_can_be_written(kind: Kind) -> None:
    has_status = any(sub.name == "status" for sub in kind.subresources)
    assert kind.strategy.has_status or not has_status


@EVERY
def test_cells_bear_an_object_without_anything(kind: Kind) -> None:
    """Tables are made of whatever is stored: a bare object must not break them."""
    bare = {"apiVersion": kind.resource.api_version, "kind": kind.resource.kind, "metadata": {"name": "x"}}
    kind.strategy.default(bare)
    for column in kind.columns:
        column.cell(bare, 0.0)
