"""Object metadata: what is refused, and in which words."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api import name
from kubepy.api.validation.meta import validate_meta, validate_meta_update


@pytest.mark.parametrize(("metadata", "expected"), [
    ({}, ["metadata.name: Required value: name or generateName is required"]),
    ({"name": "a.b.", "generateName": "ok-"}, ["metadata.name: Invalid value: \"a.b.\": " + name.subdomain("a.b.")[0]]),
    ({"name": "a", "labels": {"/x": "b"}}, ['metadata.labels: Invalid value: "/x": prefix part must be non-empty']),
    ({"name": "a", "finalizers": ["plain"]},
     ['metadata.finalizers[0]: Invalid value: "plain": name is neither a standard finalizer name nor is it fully qualified']),
    ({"name": "a", "finalizers": ["orphan", "foregroundDeletion"]},
     ['metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set']),
    ({"name": "a", "ownerReferences": [{"apiVersion": "a/b/c", "kind": "K", "name": "n", "uid": "u"}]},
     ['metadata.ownerReferences.apiVersion: Invalid value: "a/b/c": version must not be empty']),
    ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}]},
     ['metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"u"}: '
      '/v1, Kind=Event is disallowed from being an owner']),
    ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u", "controller": True},
                                       {"apiVersion": "v1", "kind": "S", "name": "s", "uid": "v", "controller": True}]},
     ['metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","kind":"K","name":"n","uid":"u","controller":true},'
      '{"apiVersion":"v1","kind":"S","name":"s","uid":"v","controller":true}]: Only one reference can have Controller set to true. '
      'Found "true" in references for K/n and S/s']),
    ({"name": "fine", "annotations": {"Example.com/X": ""}}, []),
])
def test_metadata_on_create(metadata: dict[str, Any], expected: list[str]) -> None:
    assert [str(error) for error in validate_meta(metadata, False)] == expected


def test_metadata_on_update() -> None:
    old = {"name": "a", "uid": "1", "resourceVersion": "1", "deletionTimestamp": "2001-01-01T00:00:00Z", "creationTimestamp": "c"}
    new = {"name": "a", "uid": "2", "resourceVersion": "1", "finalizers": ["example.com/c"], "creationTimestamp": "c"}
    assert [str(error) for error in validate_meta_update(new, old)] == [
        'metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers '
        '[]string{"example.com/c"}',
        'metadata.uid: Invalid value: "2": field is immutable',
        "metadata.deletionTimestamp: Invalid value: null: field is immutable",
    ]


def test_generated_names_fit() -> None:
    made = name.generate("a" * 70)
    assert len(made) == 63
    assert made.startswith("a" * 58)
    assert name.subdomain(made) == []
