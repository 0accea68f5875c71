"""What a decision costs: `python -m tests.bench.authorization [--roles 1000] [--check]` prints a line for each figure.

Everything runs in this process and alone, without storage: the index of RBAC with so many roles and bindings (half of them for the
cluster), the node authorizer's graph with ten pods a role, and the checks of certificates and tokens that were seen before.
Budgets are for one core; `--check` allows twice as much.
"""
from __future__ import annotations

import argparse
import asyncio
import datetime
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cryptography.hazmat.primitives import serialization

from kubepy.apiserver.authn.certificate import CertificateAuthenticator, CertificateVerifier
from kubepy.apiserver.authn.interface import CERTIFICATES
from kubepy.apiserver.authn.token import BearerTokens, StaticTokens
from kubepy.apiserver.authz.build import Union
from kubepy.apiserver.authz.index import RbacIndex
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.node import NodeAuthorizer
from kubepy.apiserver.authz.rbac import Rbac
from kubepy.apiserver.request import User
from kubepy.base.clock import SystemClock
from kubepy.cli.pki.issue import Subject, make_ca, make_leaf, new_key

BUDGET_US = {"allowed by a cluster role": 12, "allowed in a namespace": 15, "refused": 15, "refused to a member of 50 groups": 60,
             "a path": 15, "a node's secret": 10, "a node, refused": 12, "after a binding changed": 60, "a known certificate": 12,
             "a known token": 8}


def fill(index: RbacIndex, count: int) -> None:
    """`count` roles with a binding each: user-N and group-N get three rules."""
    for number in range(count):
        namespace = "" if number % 2 else f"ns-{number % 50}"
        rules = [{"apiGroups": [""], "resources": ["pods", f"things-{number}"], "verbs": ["get", "list", "watch"]},
                 {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["*"]},
                 {"apiGroups": ["example.com"], "resources": ["*"], "verbs": ["get"], "resourceNames": [f"one-{number}"]}]
        index.set_role(namespace, f"role-{number}", {"rules": rules})
        index.set_binding(namespace, f"binding-{number}", binding(number, namespace))


def binding(number: int, namespace: str) -> dict[str, Any]:
    return {"roleRef": {"kind": "Role" if namespace else "ClusterRole", "name": f"role-{number}"},
            "subjects": [{"kind": "User", "name": f"user-{number}"}, {"kind": "Group", "name": f"group-{number}"},
                         {"kind": "ServiceAccount", "namespace": "ns-1", "name": f"account-{number}"}]}


def nodes(authorizer: NodeAuthorizer, pods: int) -> None:
    for number in range(pods):
        authorizer.graph.set_pod("ns", f"pod-{number}", {"metadata": {"name": f"pod-{number}"}, "spec": {
            "nodeName": f"node-{number % 100}", "serviceAccountName": "default",
            "volumes": [{"name": "a", "secret": {"secretName": f"secret-{number}"}}, {"name": "b", "configMap": {"name": "shared"}}]}})


async def cost(work: Callable[[], Awaitable[Any]], times: int = 3000) -> float:
    """Microseconds of CPU a call; the best of nine rounds, so that a busy machine does not count."""
    rounds = []
    for _ in range(9):
        began = time.process_time()
        for _ in range(times // 9):
            await work()
        rounds.append((time.process_time() - began) / (times // 9) * 1e6)
    return min(rounds)


async def measure(roles: int) -> dict[str, float]:
    rbac, node, clock = Rbac(), NodeAuthorizer(), SystemClock()
    fill(rbac.index, roles)
    nodes(node, roles * 10)
    union = Union([node, rbac])
    someone = User("user-501", "", ("system:authenticated",))
    local = User("user-500", "", ("system:authenticated",))
    member = User("joiner", "", (*(f"group-{number}" for number in range(1, 100, 2)), "system:authenticated"))
    kubelet = User("system:node:node-7", "", ("system:nodes", "system:authenticated"))

    def ask(user: User, **access: Any) -> Callable[[], Awaitable[Any]]:
        question = Access(user, **{"verb": "get", "version": "v1", **access})
        return lambda: union.authorize(question)

    async def changed() -> None:
        rbac.index.set_binding("", "binding-501", binding(501, ""))
        await union.authorize(Access(someone, "get", resource="pods"))

    key = new_key()
    now = datetime.datetime.now(datetime.UTC)
    authority = make_ca("ca", key, now)
    leaf = make_leaf(Subject("ann", ("devs",), client=True), new_key(), authority, key, now).public_bytes(serialization.Encoding.DER)
    certificates = CertificateAuthenticator(CertificateVerifier(authority.public_bytes(serialization.Encoding.PEM), clock))
    tokens = BearerTokens([StaticTokens("secret,ann,1", ("api",))], ("api",), clock)
    shown: dict[str, Any] = {CERTIFICATES: (leaf,), "headers": [(b"authorization", b"Bearer secret")]}
    works = {
        "allowed by a cluster role": ask(someone, resource="pods"), "allowed in a namespace": ask(local, resource="pods", namespace="ns-0"),
        "refused": ask(someone, resource="secrets", namespace="ns-1"),
        "refused to a member of 50 groups": ask(member, resource="secrets", namespace="ns-1"),
        "a path": ask(someone, path="/metrics", is_resource=False),
        "a node's secret": ask(kubelet, resource="secrets", namespace="ns", name="secret-7"),
        "a node, refused": ask(kubelet, resource="secrets", namespace="ns", name="secret-8"), "after a binding changed": changed,
        "a known certificate": lambda: certificates.authenticate(shown), "a known token": lambda: tokens.authenticate(shown)}
    return {name: await cost(work) for name, work in works.items()}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roles", type=int, default=1000)
    parser.add_argument("--check", action="store_true", help="fail above twice the budgets")
    options = parser.parse_args(argv)
    found = asyncio.run(measure(options.roles))
    for name, spent in found.items():
        print(f"{name:36} {spent:7.1f} µs   (budget {BUDGET_US[name]})")
    slow = [name for name, spent in found.items() if spent > 2 * BUDGET_US[name]]
    return 1 if options.check and slow else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
