"""Legacy service-account token secrets: filled, removed with their account, cleaned up when unused."""
from __future__ import annotations

import base64
from datetime import date, timedelta

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rig import Rig

from kubepy.api.resource import SECRETS, SERVICE_ACCOUNTS
from kubepy.api.types import Object
from kubepy.controllers.kit.option import Options
from kubepy.controllers.token import cleanup, secret

KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


async def test_a_secret_is_filled_and_goes_with_its_account() -> None:
    async with Rig(secret.controller, options=Options(service_account_private_key=KEY, root_ca="CA")) as rig:
        account = await rig.client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot", "namespace": "default"}})
        await rig.client.create(SECRETS, {"metadata": {"name": "t", "namespace": "default", "annotations": {secret.NAME: "robot"}},
                                          "type": secret.TYPE})
        await rig.settle()
        found = rig.client.all(SECRETS)[0]
        data = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
        assert (data["ca.crt"], data["namespace"]) == ("CA", "default")
        assert found["metadata"]["annotations"][secret.UID] == account["metadata"]["uid"]
        payload = data["token"].split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert (claims["sub"], claims["kubernetes.io/serviceaccount/secret.name"]) == ("system:serviceaccount:default:robot", "t")
        writes = len(rig.client.actions)
        await rig.settle(30)
        assert len(rig.client.actions) == writes
        await rig.client.delete(SERVICE_ACCOUNTS, "robot", "default")
        await rig.settle()
        assert rig.client.all(SECRETS) == []


TODAY, YEAR = date(2026, 6, 1), timedelta(days=365)
ACCOUNT: Object = {"metadata": {"name": "robot", "namespace": "d", "uid": "u"}, "secrets": [{"name": "t"}]}


def token(**labels: str) -> Object:
    return {"metadata": {"name": "t", "namespace": "d", "creationTimestamp": "2020-01-01T00:00:00Z", "annotations": {secret.NAME: "robot"},
                         "labels": {f"kubernetes.io/legacy-token-{key.replace('_', '-')}": value for key, value in labels.items()}}}


@pytest.mark.parametrize(("item", "account", "mounted", "since", "expected"), [
    pytest.param(token(), ACCOUNT, set(), date(2025, 5, 1), (1, 0), id="never used since uses are counted"),
    pytest.param(token(), ACCOUNT, set(), date(2026, 5, 1), (0, 0), id="uses are counted since too short a time"),
    pytest.param(token(last_used="2026-05-30"), ACCOUNT, set(), date(2020, 1, 1), (0, 0), id="used lately"),
    pytest.param(token(last_used="2024-05-30", invalid_since="2026-01-01"), ACCOUNT, set(), date(2020, 1, 1), (0, 0), id="invalid lately"),
    pytest.param(token(last_used="2024-05-30", invalid_since="2025-05-01"), ACCOUNT, set(), date(2020, 1, 1), (0, 1), id="invalid long"),
    pytest.param(token(), ACCOUNT, {("d", "t")}, date(2020, 1, 1), (0, 0), id="a pod mounts it"),
    pytest.param(token(), {**ACCOUNT, "secrets": []}, set(), date(2020, 1, 1), (0, 0), id="made by hand"),
])
def test_cleaning_up(item: Object, account: Object, mounted: set[tuple[str, str]], since: date, expected: tuple[int, int]) -> None:
    found = cleanup.plan([item], {("d", "robot"): account}, mounted, since, TODAY, YEAR)
    assert (len(found.invalidate), len(found.delete)) == expected
