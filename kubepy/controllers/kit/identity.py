"""A client for each controller, as its own service account (`controller.DynamicControllerClientBuilder`).

Tokens come from the TokenRequest API and are renewed when four fifths of their time have passed; until the first one is
there, the client's requests fail like any refused one and are retried by whoever made them.
"""
from __future__ import annotations

import asyncio
from dataclasses import replace

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.resource import NAMESPACES, SERVICE_ACCOUNTS
from kubepy.api.types import Object
from kubepy.base.clock import Clock, parse_time
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.http import HttpClient
from kubepy.client.interface import Client
from kubepy.client.kubeconfig import Config

log = get_logger("identity")

NAMESPACE = "kube-system"
LIFETIME = 3600
RETRY = 0.5
CONNECTIONS = 100
"""Requests under way at once, of all controllers together."""


class Identities:
    """`bootstrap` is the manager's own client, which may create accounts and their tokens."""

    def __init__(self, bootstrap: Client, config: Config, clock: Clock, tasks: Tasks) -> None:
        self._bootstrap, self._clock, self._tasks = bootstrap, clock, tasks
        self._anonymous = replace(config, cert_data=b"", cert_file="", key_data=b"", key_file="", token="", token_file="",
                                  username="", password="")
        self._connections = HttpClient(self._anonymous, connections=CONNECTIONS)
        self._clients: dict[tuple[str, bool], HttpClient] = {}
        self._tokens: dict[str, str] = {}

    def client(self, account: str, *, metadata_only: bool = False) -> Client:
        found = self._clients.get((account, metadata_only))
        if found is None:
            found = HttpClient(self._anonymous, user_agent=f"kube-controller-manager/{account}", token=lambda: self._token(account),
                               metadata_only=metadata_only, beside=self._connections)
            if (account, not metadata_only) not in self._clients:
                self._tasks.keep(lambda: self._renew(account), f"token/{account}")
            self._clients[account, metadata_only] = found
        return found

    async def wait(self) -> None:
        """Until every client has its token, or it has taken suspiciously long: requests fail by themselves then."""
        accounts = {account for account, _ in self._clients}
        for _ in range(100):
            if self._tokens.keys() >= accounts:
                return
            await self._clock.sleep(0.1)
        log.warning("Starting without some tokens", accounts=",".join(sorted(accounts - self._tokens.keys())))

    async def close(self) -> None:
        await self._connections.close()

    def _token(self, account: str) -> str:
        token = self._tokens.get(account)
        if token is None:
            raise ConnectionError(f"no token for service account {NAMESPACE}/{account} yet")
        return token

    async def _renew(self, account: str) -> None:
        while True:
            try:
                status = await self._request(account)
            except (ApiError, ConnectionError) as error:
                log.warning("Cannot get a token, retrying", account=account, err=error)
                await self._clock.sleep(RETRY if account not in self._tokens else 30)
                continue
            self._tokens[account] = status["token"]
            lifetime = parse_time(status["expirationTimestamp"]) - self._clock.now()
            await self._clock.sleep(max(lifetime * 0.8, 10))

    async def _request(self, account: str) -> Object:
        body: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
                        "spec": {"expirationSeconds": LIFETIME, "audiences": []}}
        for _ in range(2):
            try:
                answer = await self._bootstrap.create(SERVICE_ACCOUNTS, body, NAMESPACE, name=account, subresource="token")
                status: Object = answer["status"]
                return status
            except NotFound:
                await self._ensure(account)
        raise ConnectionError(f"service account {NAMESPACE}/{account} was created and is not there")

    async def _ensure(self, account: str) -> None:
        obj = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": NAMESPACE}}
        try:
            await self._bootstrap.create(SERVICE_ACCOUNTS, obj)
        except AlreadyExists:
            return
        except NotFound:  # the namespace: the API server makes it at its start
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            try:
                await self._bootstrap.create(NAMESPACES, namespace)
            except AlreadyExists:
                await asyncio.sleep(0)
            await self._bootstrap.create(SERVICE_ACCOUNTS, obj)
