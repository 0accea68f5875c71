"""Health, liveness and readiness, check by check, as kube-apiserver words them: for any method, as upstream's handlers do."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.info import Query
from kubepy.apiserver.server import Server
from kubepy.base import slis

Check = Callable[[], Awaitable[None]]
Answer = tuple[int, str]
ETCD_SECONDS = 2.0
GROUPS = ("healthz", "livez", "readyz")
_CUSTOM, _AGGREGATED = "start-apiextensions-controllers", "apiservice-registration-controller"
POST_START = {
    "start-apiserver-admission-initializer": "", "generic-apiserver-start-informers": "", "priority-and-fairness-config-consumer": "",
    "priority-and-fairness-filter": "", "storage-object-count-tracker-hook": "",
    "start-apiextensions-informers": _CUSTOM, _CUSTOM: _CUSTOM, "crd-informer-synced": _CUSTOM,
    **{name: name for name in (
        "start-system-namespaces-controller", "start-cluster-authentication-info-controller",
        "start-kube-apiserver-identity-lease-controller", "start-kube-apiserver-identity-lease-garbage-collector",
        "start-legacy-token-tracking-controller",
        "start-service-ip-repair-controllers", "rbac/bootstrap-roles", "scheduling/bootstrap-system-priority-classes",
        "priority-and-fairness-config-producer", "bootstrap-controller", "start-kubernetes-service-cidr-controller")},
    **{name: _AGGREGATED for name in (
        "aggregator-reload-proxy-client-cert", "start-kube-aggregator-informers", "apiservice-status-local-available-controller",
        "apiservice-status-remote-available-controller", _AGGREGATED, "apiservice-discovery-controller",
        "kube-apiserver-autoregistration", "autoregister-completion", "apiservice-openapi-controller", "apiservice-openapiv3-controller")},
}
"""Upstream's checks in its order, by what they wait for here: a hook of ours, or ("") nothing that is not there once requests are served.
Monitoring asks for them, and excludes them, by name."""


class Health:
    def __init__(self, server: Server) -> None:
        self.server = server
        self._begun = server.clock.monotonic()

    async def serve(self, exchange: Exchange) -> bool:
        """Answers a path of health checks; False for any other."""
        group, slash, name = str(exchange.scope["path"])[1:].partition("/")
        if group not in GROUPS:
            return False
        status, text = await (self.one(group, name) if slash else self.all(group, exchange.query))
        await exchange.answer_text(status, text)
        return True

    def checks(self, group: str) -> dict[str, Check]:
        """The named checks of healthz, livez or readyz, in order."""
        found: dict[str, Check] = {"ping": _ok, "log": _ok, "etcd": self._etcd}
        if group == "readyz":
            found["etcd-readiness"] = self._etcd
            found["informer-sync"] = self._synced
        patient = group == "livez" and self.server.clock.monotonic() < self._begun + self.server.options.livez_grace_period
        hooks = self.server.hooks
        for name, hook in {**POST_START, **{hook: hook for hook in hooks if hook not in POST_START}}.items():
            if not hook or hook in hooks:
                full = name if name == "autoregister-completion" else f"poststarthook/{name}"
                found[full] = _ok if patient or not hook else self._hook(hook)
        if group == "readyz":
            found["shutdown"] = self._open
        return found

    def paths(self) -> list[str]:
        return [path for group in GROUPS for path in (f"/{group}", *(f"/{group}/{name}" for name in self.checks(group)))]

    async def _etcd(self) -> None:
        await asyncio.wait_for(self.server.check_storage(), ETCD_SECONDS)

    async def _synced(self) -> None:
        if left := self.server.unfilled():
            raise RuntimeError(f"{len(left)} caches not filled yet: {', '.join(left[:5])}")

    async def _open(self) -> None:
        if self.server.closing:
            raise RuntimeError("process is shutting down")

    def _hook(self, name: str) -> Check:
        async def check() -> None:
            if name in self.server.pending:
                raise RuntimeError("not finished")
        return check

    async def all(self, group: str, query: Query) -> Answer:
        """All checks but those excluded; `verbose` lists them, and so does a failure."""
        excluded = set(query.get("exclude", ()))
        lines, failed = [], False
        for name, check in self.checks(group).items():
            if name in excluded:
                excluded.discard(name)
                lines.append(f"[+]{name} excluded: ok")
                continue
            try:
                await check()
                good = True
            except Exception:
                good, failed = False, True
            slis.observe(name, group, good)
            lines.append(f"[+]{name} ok" if good else f"[-]{name} failed: reason withheld")
        if excluded:
            quoted = ", ".join(f'"{name}"' for name in sorted(excluded))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
        if failed:
            return 500, "\n".join([*lines, f"{group} check failed"]) + "\n"
        if "verbose" in query:
            return 200, "\n".join([*lines, f"{group} check passed"]) + "\n"
        return 200, "ok"

    async def one(self, group: str, name: str) -> Answer:
        check = self.checks(group).get(name)
        if check is None:
            return 404, "404 page not found\n"
        try:
            await check()
        except Exception as error:
            slis.observe(name, group, False)
            return 500, f"internal server error: {error}\n"
        slis.observe(name, group, True)
        return 200, "ok"


async def _ok() -> None:
    return None
