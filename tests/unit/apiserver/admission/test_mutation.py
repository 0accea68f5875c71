"""What mutations of policies make of objects."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.apply import Shapes
from kubepy.api.schema.definitions import Definitions
from kubepy.apiserver.admission.policy.definition import Policy
from kubepy.apiserver.admission.policy.evaluation import Scope
from kubepy.apiserver.admission.policy.mutation import MutationFailed, mutate

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
       "spec": {"containers": [{"name": "c", "image": "i"}], "tolerations": [{"key": "k"}]}}
SHAPE = Shapes(Definitions()).named("io.k8s.api.core.v1.Pod")


def changed(kind: str, expression: str, **spec: Any) -> dict[str, Any]:
    field = "jsonPatch" if kind == "JSONPatch" else "applyConfiguration"
    policy = Policy({"metadata": {"name": "p"}, "spec": {"mutations": [{"patchType": kind, field: {"expression": expression}}], **spec}})
    return mutate(Scope(policy, {"object": POD, "oldObject": None, "request": {}}), policy.mutations[0], POD, SHAPE)


@pytest.mark.parametrize(("expression", "path", "value"), [
    pytest.param("Object{metadata: Object.metadata{labels: {'x': 'y'}}}", ("metadata", "labels"), {"a": "b", "x": "y"}, id="maps merge"),
    pytest.param("Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', tty: true}]}}", ("spec", "containers"),
                 [{"name": "c", "image": "i", "tty": True}], id="the item of the same key"),
    pytest.param("Object{spec: Object.spec{containers: [Object.spec.containers{name: 'd', image: 'j'}]}}", ("spec", "containers"),
                 [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}], id="an item more"),
    pytest.param("Object{spec: Object.spec{?nodeName: optional.none(), ?hostname: optional.of('h')}}", ("spec", "hostname"), "h",
                 id="fields that may be left out"),
    pytest.param("Object{metadata: Object.metadata{labels: object.metadata.labels.transformMap(k, v, v + variables.mark)}}",
                 ("metadata", "labels"), {"a": "b!"}, id="computed"),
])
def test_apply_configurations_are_merged(expression: str, path: tuple[str, str], value: Any) -> None:
    found = changed("ApplyConfiguration", expression, variables=[{"name": "mark", "expression": "'!'"}])
    assert found[path[0]][path[1]] == value
    assert POD["metadata"] == {"name": "p", "labels": {"a": "b"}}


@pytest.mark.parametrize(("kind", "expression", "message"), [
    pytest.param("ApplyConfiguration", "Object{spec: Object.metadata{x: 1}}",
                 'type mismatch: unexpected type name "Object.metadata", expected "Object.spec", which matches field name path from root '
                 "Object type", id="another type's name"),
    pytest.param("ApplyConfiguration", "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', args: ['x']}]}}",
                 "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
                 ".spec.containers.args", id="what is owned whole"),
    pytest.param("ApplyConfiguration", "Object{spec: Object.spec{colour: 'x'}}", "error applying patch: failed to convert patch object to "
                 "typed object: .spec.colour: field not declared in schema", id="an unknown field"),
    pytest.param("JSONPatch", "[JSONPatch{op: 'test', path: '/metadata/name', value: 'q'}]",
                 "JSON Patch: testing value /metadata/name failed: test failed", id="a test that fails"),
    pytest.param("JSONPatch", "[JSONPatch{op: 'add', path: object.none, value: 1}]",
                 "expression '[JSONPatch{op: 'add', path: object.none, value: 1}]' resulted in error: no such key: none",
                 id="an expression that fails"),
])
def test_mutations_that_do_not_apply(kind: str, expression: str, message: str) -> None:
    with pytest.raises(MutationFailed) as found:
        changed(kind, expression)
    assert str(found.value) == message


def test_json_patches_carry_objects_and_escaped_keys() -> None:
    found = changed("JSONPatch", "[JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}, JSONPatch{op: 'add', path: "
                    "'/metadata/annotations/' + jsonpatch.escapeKey('e.com/x~y'), value: 'z'}, JSONPatch{op: 'add', path: "
                    "'/spec/containers/-', value: Object.spec.containers{name: 'd'}}]")
    assert found["metadata"]["annotations"] == {"e.com/x~y": "z"}
    assert found["spec"]["containers"][-1] == {"name": "d"}
