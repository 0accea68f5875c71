"""The authorities that API servers are known by, as a ClusterTrustBundle (`pkg/controller/certificates/clustertrustbundlepublisher`).

One bundle of the signer kubernetes.io/kube-apiserver-serving, with a name made of its content: after a change the new one is there before
the old one goes, so that pods never see nothing. Known difference: the bundle is the file of `--root-ca-file` as it was at start.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterable
from time import perf_counter

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.resource import CLUSTER_TRUST_BUNDLES
from kubepy.api.types import Object
from kubepy.base.metrics import counter, histogram
from kubepy.client.controller import Controller, Watch
from kubepy.client.queue import WorkQueue
from kubepy.controllers.kit.environment import Environment

SIGNER = "kubernetes.io/kube-apiserver-serving"
SELECTOR = f"spec.signerName={SIGNER}"
ACCOUNT = "kube-apiserver-serving-clustertrustbundle-publisher"
KEY = "bundle"
SYNCS = counter("clustertrustbundle_publisher_sync_total", "Number of syncs that occurred in cluster trust bundle publisher.", ("code",))
SECONDS = histogram("clustertrustbundle_publisher_sync_duration_seconds",
                    "The time it took to sync a cluster trust bundle.", ("code",), tuple(0.001 * 2 ** step for step in range(15)))


def bundle_name(signer: str, content: str) -> str:
    return f"{signer.replace('/', ':')}:{hashlib.sha256(content.encode()).digest()[:12].hex()}"


def plan(content: str, present: Iterable[Object]) -> tuple[Object | None, list[Object]]:
    """What to write (an update when it has a resourceVersion), and what to remove afterwards."""
    name = bundle_name(SIGNER, content)
    mine = [item for item in present if item["spec"].get("signerName") == SIGNER]
    current = next((item for item in mine if item["metadata"]["name"] == name), None)
    others = [item for item in mine if item is not current]
    if current is None:
        return {"apiVersion": CLUSTER_TRUST_BUNDLES.api_version, "kind": CLUSTER_TRUST_BUNDLES.kind, "metadata": {"name": name},
                "spec": {"signerName": SIGNER, "trustBundle": content}}, others
    if current["spec"].get("trustBundle") != content:
        return {**current, "spec": {**current["spec"], "trustBundle": content}}, others
    return None, others


def controller(env: Environment) -> Controller | None:
    if not env.options.root_ca:
        return None
    client = env.client_for(ACCOUNT)
    bundles = env.informers.informer(CLUSTER_TRUST_BUNDLES, field_selector=SELECTOR).lister

    async def sync() -> None:
        wanted, others = plan(env.options.root_ca, bundles.list())
        if wanted is not None and wanted["metadata"].get("resourceVersion"):
            await client.update(CLUSTER_TRUST_BUNDLES, wanted)
        elif wanted is not None:
            try:
                await client.create(CLUSTER_TRUST_BUNDLES, wanted)
            except AlreadyExists:
                return  # the cache will tell
        for item in others:
            try:
                await client.delete(CLUSTER_TRUST_BUNDLES, item["metadata"]["name"], uid=item["metadata"]["uid"])
            except NotFound:
                continue

    async def reconcile(key: str) -> float | None:
        began, code = perf_counter(), "200"
        try:
            await sync()
        except ApiError as error:
            code = str(error.code)
            raise
        finally:
            SYNCS.labels(code).inc()
            SECONDS.labels(code).observe(perf_counter() - began)
        return None

    async def begin(queue: WorkQueue[str]) -> None:
        queue.add(KEY)
        await env.clock.sleep(float("inf"))

    return Controller("clustertrustbundle_publisher", reconcile, (
        Watch(CLUSTER_TRUST_BUNDLES, keys=lambda obj: (KEY,), field_selector=SELECTOR),), start=begin)
