"""One server for the tests of who may do what."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from kubepy.cli.pki import Pki, ensure_pki
from tests.apiserver import ApiServer
from tests.integration.security.requests import client, discover


@dataclass
class World:
    """`n1` and `n2` are nodes with a pod each (`mine`, `theirs`) that uses the secret of its name; `prize` is a secret nobody uses."""

    server: ApiServer
    pki: Pki
    resources: list[tuple[str, dict[str, Any]]]
    admin: httpx.Client

    def account(self, name: str, namespace: str = "default", **spec: Any) -> str:
        """A token of a service account, which is made when it is not there."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.admin.post(accounts, json={"metadata": {"name": name}})
        answer = self.admin.post(f"{accounts}/{name}/token", json={"spec": spec})
        answer.raise_for_status()
        return str(answer.json()["status"]["token"])


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    pki = ensure_pki(tmp_path_factory.mktemp("pki"), node_name="n1", addresses=["127.0.0.1"], service_ip="10.96.0.1")
    flags = ("--authorization-mode=Node,RBAC", f"--client-ca-file={pki.ca.cert}", "--enable-admission-plugins=NodeRestriction",
             f"--requestheader-client-ca-file={pki.front_proxy_ca.cert}", "--requestheader-allowed-names=front-proxy-client",
             "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
             "--requestheader-extra-headers-prefix=X-Remote-Extra-", f"--proxy-client-cert-file={pki.front_proxy_client.cert}",
             f"--proxy-client-key-file={pki.front_proxy_client.key}")
    with ApiServer(*flags) as server, client(server, token=server.token) as admin:
        found = World(server, pki, discover(admin), admin)
        for name in ("n1", "n2"):
            admin.post("/api/v1/nodes", json={"metadata": {"name": name}}).raise_for_status()
        for name, node in (("mine", "n1"), ("theirs", "n2"), ("prize", "")):
            admin.post("/api/v1/namespaces/default/secrets", json={"metadata": {"name": name}}).raise_for_status()
            found.account(name)
            if node:
                spec = {"nodeName": node, "serviceAccountName": name, "containers": [{"name": "c", "image": "i"}],
                        "volumes": [{"name": "v", "secret": {"secretName": name}}]}
                admin.post("/api/v1/namespaces/default/pods", json={"metadata": {"name": name}, "spec": spec}).raise_for_status()
        yield found
