"""Scenes of certificates, tokens, machines and autoscaling: what their users do, and where everything must end."""
from __future__ import annotations

from math import ceil
from pathlib import Path

import pytest
import yaml
from chaos import Flaky
from credentials import KEY_PEM, TOKEN_SECRET, csr, serving, token, write_authority
from metric_client import MetricsClient
from scene import Scene, World, names

from kubepy.api.resource import (
    CERTIFICATE_SIGNING_REQUESTS,
    CONFIGMAPS,
    HORIZONTAL_POD_AUTOSCALERS,
    NODES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SUBJECT_ACCESS_REVIEWS,
    Resource,
)
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.controllers import bootstrap, replicaset
from kubepy.controllers.autoscale import reconcile as autoscale
from kubepy.controllers.certificate import approve, clean, sign
from kubepy.controllers.cloud import node as cloud_node
from kubepy.controllers.cloud import route
from kubepy.controllers.cloud.provider import ProviderError, Route
from kubepy.controllers.kit.option import Options
from kubepy.controllers.token import cleanup, secret


class FlakyMetrics(MetricsClient, Flaky):
    """A pod's share of the whole load is what it uses."""

    load_milli = 100

    def __init__(self, seed: int) -> None:
        Flaky.__init__(self, seed)
        self.values = {}

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        self._refuse()
        running = [pod for pod in self.all(PODS) if pod["status"].get("phase") == "Running"]
        self.cpu = self.load_milli // max(len(running), 1)
        return await MetricsClient.raw(self, method, path, body, headers=headers)


class Autoscalers(Scene):
    builds = (autoscale.controller, replicaset.replicaset)
    client = FlakyMetrics
    pods = True
    after = 40

    async def begin(self, world: World) -> None:
        template = {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]}}
        await world.create(REPLICA_SETS, "web", spec={
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template})
        await world.create(HORIZONTAL_POD_AUTOSCALERS, "h", spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"}, "minReplicas": 2, "maxReplicas": 6,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]})
        world.seen["limits"] = (2, 6)

    async def act(self, world: World, number: int) -> None:
        client = world.rig.client
        assert isinstance(client, FlakyMetrics)
        client.load_milli = world.dice.randrange(0, 500)
        if world.dice.random() < 0.3:
            low = world.dice.randrange(1, 4)
            world.seen["limits"] = (low, low + world.dice.randrange(6))
            await world.patch(HORIZONTAL_POD_AUTOSCALERS, world.all(HORIZONTAL_POD_AUTOSCALERS)[0], {
                "spec": dict(zip(("minReplicas", "maxReplicas"), world.seen["limits"], strict=True))})
        if world.dice.random() < 0.3:
            await world.patch(REPLICA_SETS, world.all(REPLICA_SETS)[0], {"spec": {"replicas": world.dice.randrange(1, 12)}})
        await world.rig.settle(world.dice.choice((1, 16, 40)))

    def check(self, world: World) -> None:
        """Within its limits it has as many as the load asks for, give or take the tolerance, and no scaling but for a reason."""
        client = world.rig.client
        assert isinstance(client, FlakyMetrics)
        low, high = world.seen["limits"]
        [owner], [hpa] = world.all(REPLICA_SETS), world.all(HORIZONTAL_POD_AUTOSCALERS)
        replicas, each = owner["spec"]["replicas"], 50
        wanted = min(max(ceil(client.load_milli / each), low), high)
        assert len(world.all(PODS)) == replicas == hpa["status"]["currentReplicas"] == hpa["status"]["desiredReplicas"]
        assert replicas == wanted or (low <= replicas <= high and abs(client.load_milli / (each * replicas) - 1) <= 0.12)
        assert {item["type"]: item["status"] for item in hpa["status"]["conditions"]}["ScalingActive"] == "True"


class FlakyReviews(Flaky):
    """Who may have a node's certificate is in `granted`."""

    granted: frozenset[str] = frozenset()

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None, *, name: str | None = None,
                     subresource: str | None = None, dry_run: bool = False) -> Object:
        if resource == SUBJECT_ACCESS_REVIEWS:
            self._refuse()
            spec = obj["spec"]
            return {"status": {"allowed": f"{spec['user']}/{spec['resourceAttributes']['subresource']}" in self.granted}}
        return await super().create(resource, obj, namespace, name=name, subresource=subresource, dry_run=dry_run)


JOINER, SELF = "system:bootstrap:abcdef", "system:node:n1"
WISHES = {
    "renewal": csr(), "joining": csr(user=JOINER), "stranger": csr("mallory"), "serving": serving("192.0.2.1"),
    "wrong": csr(usages=["server auth"]), "other": csr(signer="example.com/mine")}


class Certificates(Scene):
    builds = (approve.controller, sign.controller, clean.controller)
    client = FlakyReviews

    def prepare(self, client: Flaky, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cert, key = write_authority(directory)
        self.options = Options(cluster_signing_cert_file=cert, cluster_signing_key_file=key)

    async def begin(self, world: World) -> None:
        address = {"type": "InternalIP", "address": "192.0.2.1"}
        world.rig.client.load(NODES, {"metadata": {"name": "n1"}, "status": {"addresses": [address]}})

    async def act(self, world: World, number: int) -> None:
        client = world.rig.client
        assert isinstance(client, FlakyReviews)
        kind = list(WISHES)[number % len(WISHES)]
        await world.create(CERTIFICATE_SIGNING_REQUESTS, f"{kind}-{number}", None, spec=WISHES[kind]["spec"])
        if number == 6:
            client.granted = frozenset({f"{SELF}/selfnodeclient", f"{JOINER}/nodeclient", f"{SELF}/selfnodeserver"})
        open_ones = [item for item in world.all(CERTIFICATE_SIGNING_REQUESTS) if not (item.get("status") or {}).get("conditions")
                     and item["metadata"]["name"].split("-")[0] in ("stranger", "wrong", "other")]
        if open_ones:
            chosen, moment = world.dice.choice(open_ones), format_time(world.rig.clock.now())
            type = world.dice.choice(("Approved", "Approved", "Denied"))
            await world.patch(CERTIFICATE_SIGNING_REQUESTS, chosen, {"status": {"conditions": [
                {"type": type, "status": "True", "reason": "ByHand", "lastUpdateTime": moment}]}}, "approval")
            world.seen[chosen["metadata"]["name"]] = type

    async def late(self, world: World) -> None:
        """What was answered early on has gone after its hour; one of each is asked for anew."""
        await world.rig.settle(4800)
        left = world.all(CERTIFICATE_SIGNING_REQUESTS)
        assert [item for item in left if (item.get("status") or {}).get("conditions")] == []
        assert {item["metadata"]["name"].split("-")[0] for item in left} <= {"stranger", "wrong", "other"}
        for kind, wish in WISHES.items():
            await world.create(CERTIFICATE_SIGNING_REQUESTS, f"{kind}-late", None, spec=wish["spec"])
        for kind in ("stranger", "other"):
            found = await world.rig.client.get(CERTIFICATE_SIGNING_REQUESTS, f"{kind}-late")
            await world.patch(CERTIFICATE_SIGNING_REQUESTS, found, {"status": {"conditions": [
                {"type": "Approved", "status": "True", "lastUpdateTime": format_time(world.rig.clock.now())}]}}, "approval")
        await world.rig.settle(30)

    def check(self, world: World) -> None:
        expected = {"renewal": (["Approved"], True), "joining": (["Approved"], True), "serving": (["Approved"], True),
                    "stranger": (["Approved", "Failed"], False), "wrong": ([], False), "other": (["Approved"], False)}
        for item in world.all(CERTIFICATE_SIGNING_REQUESTS):
            kind, _, number = item["metadata"]["name"].partition("-")
            status = item.get("status") or {}
            if number == "late":
                assert ([entry["type"] for entry in status.get("conditions") or ()], bool(status.get("certificate"))) == expected[kind]


class Bootstraps(Scene):
    builds = (bootstrap.signer, bootstrap.cleaner)

    async def begin(self, world: World) -> None:
        await world.create(CONFIGMAPS, bootstrap.NAME, bootstrap.PUBLIC, data={"kubeconfig": "k0"})

    async def act(self, world: World, number: int) -> None:
        ends = {"expiration": format_time(world.rig.clock.now() + world.dice.choice((5, 60, 6000)))} if number % 3 else {}
        signs = world.dice.choice(("true", "true", "false"))
        body = token(f"aaaa{number:02d}", **{"usage-bootstrap-signing": signs, **ends})
        await world.create(SECRETS, body["metadata"]["name"], bootstrap.NAMESPACE, type=body["type"], data=body["data"])
        if signs == "true" and not ends:
            world.seen[f"aaaa{number:02d}"] = True
        [info] = world.all(CONFIGMAPS)
        if world.dice.random() < 0.3:
            await world.patch(CONFIGMAPS, info, {"data": {"kubeconfig": f"k{number}"}})
        if world.dice.random() < 0.3:
            await world.patch(CONFIGMAPS, info, {"data": {f"{bootstrap.SIGNATURE}zzzzzz": "forged"}})
        if world.dice.random() < 0.2 and (found := world.some(SECRETS)) is not None:
            world.seen.pop(found["metadata"]["name"].rpartition("-")[2], None)
            await world.delete(SECRETS, found)

    async def late(self, world: World) -> None:
        await world.rig.settle(7000)

    def check(self, world: World) -> None:
        [info] = world.all(CONFIGMAPS)
        assert {key: text for key, text in info["data"].items() if key != "kubeconfig"} == {
            f"{bootstrap.SIGNATURE}{name}": bootstrap.signature(name, TOKEN_SECRET, info["data"]["kubeconfig"]) for name in world.seen}
        assert not [item for item in world.all(SECRETS) if bootstrap.expires_at(item) is not None]
        assert {f"bootstrap-token-{name}" for name in world.seen} <= set(names(world.all(SECRETS)))


class LegacyTokens(Scene):
    builds = (secret.controller, cleanup.controller)

    def prepare(self, client: Flaky, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.options = Options(service_account_private_key=KEY_PEM, root_ca="CA", legacy_token_clean_up_period=86400.0)

    async def begin(self, world: World) -> None:
        await world.create(CONFIGMAPS, cleanup.TRACKING, "kube-system", data={"since": "2023-01-01"})

    async def act(self, world: World, number: int) -> None:
        await world.create(SERVICE_ACCOUNTS, f"sa-{number % 5}")
        account = world.some(SERVICE_ACCOUNTS)
        if account is not None:
            annotations = {secret.NAME: account["metadata"]["name"]}
            await world.create(SECRETS, f"t-{number}", type=secret.TYPE, metadata={"annotations": annotations})
            world.seen[f"t-{number}"] = account["metadata"]["uid"]
            if number % 3 == 0:  # as a controller of old made it
                live = next(item for item in world.all(SERVICE_ACCOUNTS) if item["metadata"]["uid"] == account["metadata"]["uid"])
                await world.patch(SERVICE_ACCOUNTS, live, {"secrets": [*(live.get("secrets") or ()), {"name": f"t-{number}"}]})
                world.seen[f"old t-{number}"] = account["metadata"]["uid"]
        if number % 4 == 0:
            volume = {"name": "v", "secret": {"secretName": f"t-{number}"}}
            await world.create(PODS, f"p-{number}", spec={"containers": [], "volumes": [volume]})
        if world.dice.random() < 0.3 and (found := world.some(SERVICE_ACCOUNTS)) is not None:
            await world.delete(SERVICE_ACCOUNTS, found)
        if world.dice.random() < 0.2 and (found := world.some(SECRETS)) is not None:
            await world.patch(SECRETS, found, {"data": None})
        if world.dice.random() < 0.2 and (found := world.some(SECRETS)) is not None:
            world.seen.pop(found["metadata"]["name"], None)
            await world.delete(SECRETS, found)

    async def late(self, world: World) -> None:
        self.check_tokens(world, set())
        await world.rig.settle(3 * 86400 + 60)

    def check(self, world: World) -> None:
        mounted = {name for pod in world.all(PODS) for name in cleanup.secrets_of(pod)}
        alive = {item["metadata"]["uid"] for item in world.all(SERVICE_ACCOUNTS)}
        old = {key.removeprefix("old ") for key, uid in world.seen.items() if key.startswith("old ") and uid in alive}
        self.check_tokens(world, old - mounted)

    def check_tokens(self, world: World, cleaned: set[str]) -> None:
        """Each token is a living account's, and no living account has lost one that was made for it."""
        accounts = {item["metadata"]["uid"]: item["metadata"]["name"] for item in world.all(SERVICE_ACCOUNTS)}
        there = set()
        for item in world.all(SECRETS):
            assert accounts[item["metadata"]["annotations"][secret.UID]] == item["metadata"]["annotations"][secret.NAME]
            assert {"ca.crt", "namespace", "token"} == set(item["data"])
            there.add(item["metadata"]["name"])
        assert {name for name, uid in world.seen.items() if uid in accounts and not name.startswith("old ")} - cleaned <= there
        assert not there & cleaned


class FlakyRoutes:
    def __init__(self, client: Flaky) -> None:
        self.client = client
        self.made = [Route("10.244.9.0/24", "10.9.9.9")]
        """One of before."""

    def stumble(self) -> None:
        if self.client.random.random() < self.client.rate:
            raise ProviderError("not now")

    async def all(self) -> list[Route]:
        self.stumble()
        return list(self.made)

    async def make(self, route: Route) -> None:
        self.stumble()
        assert route not in self.made
        self.made.append(route)
        self.stumble()

    async def remove(self, route: Route) -> None:
        self.stumble()
        self.made.remove(route)
        self.stumble()


class Clouds(Scene):
    builds = (cloud_node.initialize, cloud_node.lifecycle, route.controller)

    def prepare(self, client: Flaky, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file, self.routes = directory / "machines", FlakyRoutes(client)
        self.machines: dict[str, Object] = {}
        self.lost: set[str] = set()
        self.write()
        monkeypatch.setattr("kubepy.controllers.cloud.builtin.KernelRoutes", lambda: self.routes)
        self.options = Options(machine_file=str(self.file), kernel_routes=True, cluster_cidr=("10.244.0.0/16",))

    def write(self) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(yaml.safe_dump({"machines": [{"name": name, **body} for name, body in self.machines.items()]}))
        new.replace(self.file)

    async def act(self, world: World, number: int) -> None:
        name, address = f"n-{number}", f"192.0.2.{number}"
        if world.dice.random() < 0.2:
            self.lost.add(name)
        else:
            self.machines[name] = {"providerID": f"rack://{number}", "zone": "z", "addresses": [address]}
        taints = [{"key": cloud_node.UNINITIALIZED, "value": "true", "effect": "NoSchedule"}, {"key": "mine", "effect": "NoSchedule"}]
        await world.create(NODES, name, None, spec={"taints": taints, "podCIDRs": [f"10.244.{number}.0/24"]}, status={
            "conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}]})
        if (found := world.some(NODES)) is not None:
            conditions = [item for item in found["status"]["conditions"] if item["type"] != "Ready"]
            ready = {"type": "Ready", "status": world.dice.choice(("True", "Unknown"))}
            await world.patch(NODES, found, {"status": {"conditions": [ready, *conditions]}}, "status")
        if self.machines:
            chosen = world.dice.choice(list(self.machines))
            if world.dice.random() < 0.2:
                del self.machines[chosen]
                self.lost.add(chosen)
            else:
                self.machines[chosen]["running"] = world.dice.random() < 0.7
        self.write()
        if world.dice.random() < 0.2 and (found := world.some(NODES)) is not None:
            await world.delete(NODES, found)
            self.lost.add(found["metadata"]["name"])
        world.seen[name] = True

    def check(self, world: World) -> None:
        assert world.seen.keys() - self.lost <= set(names(world.all(NODES))), "a node has gone whose machine is there"
        expected = []
        for node in world.all(NODES):
            name = node["metadata"]["name"]
            machine, keys = self.machines.get(name), [item["key"] for item in node["spec"]["taints"]]
            ready = next(item["status"] for item in node["status"]["conditions"] if item["type"] == "Ready") == "True"
            waits = cloud_node.UNINITIALIZED in keys
            assert "mine" in keys
            assert machine is not None or ready or waits, "its machine has gone"
            if machine is not None:
                assert not waits
                assert node["spec"]["providerID"] == machine["providerID"]
                assert (cloud_node.SHUTDOWN["key"] in keys) is (not ready and machine.get("running") is False)
            addresses = [item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP"]
            expected.append(Route(node["spec"]["podCIDRs"][0], addresses[0]))
            [network] = [item for item in node["status"]["conditions"] if item["type"] == "NetworkUnavailable"]
            assert (network["status"], network["reason"]) == ("False", "RouteCreated")
        assert sorted(self.routes.made) == sorted(expected)
