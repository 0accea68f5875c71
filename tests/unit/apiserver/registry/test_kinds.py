"""Rules of single kinds that are easily lost: what is filled, refused or kept on updates."""
from __future__ import annotations

import copy
from typing import Any

import pytest

from kubepy.api.resource import (
    CONFIGMAPS,
    CRON_JOBS,
    DEPLOYMENTS,
    JOBS,
    PRIORITY_CLASSES,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    Resource,
)
from kubepy.apiserver.registry.table import by_resource
from kubepy.apiserver.request import Context, RequestInfo, User

KIND = by_resource()
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
ONCE = {"metadata": {}, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
WORKLOAD = {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
CLASS = {"provisioner": "a.com/x"}


def made(resource: Resource, /, **fields: Any) -> dict[str, Any]:
    found = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}, **copy.deepcopy(fields)}
    KIND[resource].strategy.default(found)
    return found


def context(resource: Resource, verb: str) -> Context:
    return Context(User("me"), RequestInfo("/", verb), KIND[resource])


def refused(resource: Resource, **fields: Any) -> list[str]:
    return [error.field for error in KIND[resource].strategy.validate(context(resource, "create"), made(resource, **fields))]


def refused_update(resource: Resource, new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    return [error.field for error in KIND[resource].strategy.validate_update(context(resource, "update"), made(resource, **new),
                                                                             made(resource, **old))]


def test_a_deployment_is_filled() -> None:
    spec = made(DEPLOYMENTS, spec=WORKLOAD)["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


@pytest.mark.parametrize(("resource", "fields", "problem"), [
    (DEPLOYMENTS, {"spec": {**WORKLOAD, "selector": {"matchLabels": {"a": "c"}}}}, "spec.template.metadata.labels"),
    (DEPLOYMENTS, {"spec": {**WORKLOAD, "replicas": -1}}, "spec.replicas"),
    (DEPLOYMENTS, {"spec": {"template": TEMPLATE}}, "spec.selector"),
    (STATEFUL_SETS, {"spec": {**WORKLOAD, "podManagementPolicy": "Odd"}}, "spec.podManagementPolicy"),
    (JOBS, {"spec": {"template": TEMPLATE}}, "spec.template.spec.restartPolicy"),
    (CRON_JOBS, {"spec": {"schedule": "x", "jobTemplate": {"spec": {"template": ONCE}}}}, "spec.schedule"),
    (CONFIGMAPS, {"data": {"a/b": ""}}, "data[a/b]"),
    (SECRETS, {"type": "kubernetes.io/tls"}, "data[tls.crt]"),
    (PRIORITY_CLASSES, {"value": 2_000_000_000}, "value"),
    (STORAGE_CLASSES, {"provisioner": ""}, "provisioner"),
], ids=lambda value: value.plural if isinstance(value, Resource) else value if isinstance(value, str) else "")
def test_is_refused(resource: Resource, fields: dict[str, Any], problem: str) -> None:
    assert problem in refused(resource, **fields)


@pytest.mark.parametrize(("resource", "new", "old", "problems"), [
    (DEPLOYMENTS, {"spec": {**WORKLOAD, "replicas": 3}}, {"spec": WORKLOAD}, []),
    (DEPLOYMENTS, {"spec": {**WORKLOAD, "selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}}, {"spec": WORKLOAD},
     ["spec.selector"]),
    (STATEFUL_SETS, {"spec": {**WORKLOAD, "serviceName": "other"}}, {"spec": {**WORKLOAD, "serviceName": "one"}}, ["spec"]),
    (CONFIGMAPS, {"data": {"a": "2"}, "immutable": True}, {"data": {"a": "1"}, "immutable": True}, ["data"]),
    (CONFIGMAPS, {"data": {"a": "1"}}, {"data": {"a": "1"}, "immutable": True}, ["immutable"]),
    (SECRETS, {"type": "other"}, {"type": "Opaque"}, ["type"]),
    (PRIORITY_CLASSES, {"value": 2}, {"value": 1}, ["value"]),
    (STORAGE_CLASSES, {**CLASS, "parameters": {"a": "b"}}, CLASS, ["parameters"]),
], ids=["replicas", "selector", "governing service", "immutable data", "immutable stays", "secret type", "value", "parameters"])
def test_an_update_may_change(resource: Resource, new: dict[str, Any], old: dict[str, Any], problems: list[str]) -> None:
    assert refused_update(resource, new, old) == problems


def test_a_service_is_named_like_a_label_and_returned_when_deleted() -> None:
    strategy = KIND[SERVICES].strategy
    assert (strategy.name_kind, strategy.returns_deleted, strategy.allow_create_on_update) == ("label", True, True)


def test_jobs_leave_their_pods_unless_told() -> None:
    assert KIND[JOBS].strategy.default_propagation == "Orphan"
    assert KIND[DEPLOYMENTS].strategy.default_propagation == "Background"


def test_generation_counts_changes_of_the_spec_only() -> None:
    strategy, old = KIND[DEPLOYMENTS].strategy, made(DEPLOYMENTS, spec=WORKLOAD)
    same, other = made(DEPLOYMENTS, spec=WORKLOAD, status={"replicas": 3}), made(DEPLOYMENTS, spec={**WORKLOAD, "replicas": 3})
    assert not strategy.changes_generation(same, old)
    assert strategy.changes_generation(other, old)
