"""Token Secrets that were made for accounts by themselves and that nobody has used for long (`legacy-service-account-token-cleaner`).

First such a Secret is marked invalid, after the same time again it is removed. Secrets that a pod mounts stay.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import CONFIGMAPS, PODS, SECRETS, SERVICE_ACCOUNTS
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.client.queue import WorkQueue
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.token.secret import NAME, SELECTOR, UID, notes

log = get_logger("legacy-service-account-token-cleaner")

INTERVAL = 86400.0
TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
LAST_USED, INVALID_SINCE = "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"


class Plan(NamedTuple):
    invalidate: list[Object]
    delete: list[Object]


def plan(secrets: Iterable[Object], accounts: dict[tuple[str, str], Object], mounted: set[tuple[str, str]], since: date, today: date,
         period: timedelta) -> Plan:
    found = Plan([], [])
    for secret in secrets:
        metadata = secret["metadata"]
        account = accounts.get((metadata["namespace"], notes(secret).get(NAME, "")))
        if account is None or notes(secret).get(UID, account["metadata"]["uid"]) != account["metadata"]["uid"]:
            continue
        if not any(item.get("name") == metadata["name"] for item in account.get("secrets") or ()):
            continue  # made by hand
        if (metadata["namespace"], metadata["name"]) in mounted:
            continue
        labels = metadata.get("labels") or {}
        used = _day(labels.get(LAST_USED))
        if used is None:
            created = _day((metadata.get("creationTimestamp") or "")[:10])
            used = max(since, created) if created is not None else since
        if used + period > today:
            continue
        invalid = _day(labels.get(INVALID_SINCE))
        if invalid is None:
            found.invalidate.append(secret)
        elif invalid + period <= today:
            found.delete.append(secret)
    return found


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def secrets_of(pod: Object) -> list[str]:
    names = []
    for volume in pod["spec"].get("volumes") or ():
        if (volume.get("secret") or {}).get("secretName"):
            names.append(volume["secret"]["secretName"])
        names += [source["secret"]["name"] for source in (volume.get("projected") or {}).get("sources") or () if source.get("secret")]
    return names


def controller(env: Environment) -> Controller:
    client = env.client_for("legacy-service-account-token-cleaner")
    secrets = env.informers.informer(SECRETS, field_selector=SELECTOR).lister
    accounts, pods = env.informers.informer(SERVICE_ACCOUNTS).lister, env.informers.informer(PODS).lister

    async def reconcile(key: str) -> float | None:
        try:
            tracking = await client.get(CONFIGMAPS, TRACKING, "kube-system")
        except NotFound:
            return INTERVAL  # nobody has counted uses: nothing is known to be unused
        since = _day((tracking.get("data") or {}).get("since"))
        if since is None:
            return INTERVAL
        today = datetime.fromtimestamp(env.clock.now(), UTC).date()
        mounted = {(pod["metadata"]["namespace"], name) for pod in pods.list() for name in secrets_of(pod)}
        known = {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in accounts.list()}
        found = plan(secrets.list(), known, mounted, since, today, timedelta(seconds=env.options.legacy_token_clean_up_period))
        for secret in found.invalidate:
            await client.patch(SECRETS, secret["metadata"]["name"], {"metadata": {
                "resourceVersion": secret["metadata"]["resourceVersion"], "labels": {INVALID_SINCE: today.isoformat()}}},
                secret["metadata"]["namespace"])
            log.info("Unused token marked invalid", secret=secret["metadata"]["name"], namespace=secret["metadata"]["namespace"])
        for secret in found.delete:
            try:
                await client.delete(SECRETS, secret["metadata"]["name"], secret["metadata"]["namespace"], uid=secret["metadata"]["uid"],
                                    resource_version=secret["metadata"]["resourceVersion"])
            except ApiError as error:
                log.warning("Cannot remove an unused token", secret=secret["metadata"]["name"], err=error)
        return INTERVAL

    async def begin(queue: WorkQueue[str]) -> None:
        queue.add("all")
        await asyncio.Event().wait()

    return Controller("legacy_serviceaccount_token_cleaner", reconcile, (
        Watch(SECRETS, keys=None, field_selector=SELECTOR), Watch(SERVICE_ACCOUNTS, keys=None),
        Watch(PODS, keys=None)), start=begin)
