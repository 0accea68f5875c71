"""The stores every contract test runs against."""
from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from kubepy.apiserver.storage.etcd import EtcdKV
from kubepy.apiserver.storage.kv import KV
from kubepy.apiserver.storage.memory import MemoryKV
from tests.etcd import Etcd


@pytest.fixture(scope="session")
def shared_etcd() -> Iterator[Etcd]:
    """One etcd for all tests that only read and write; they keep apart by prefix."""
    with Etcd() as etcd:
        yield etcd


@pytest.fixture
def own_etcd() -> Iterator[Etcd]:
    """An etcd that the test may kill."""
    with Etcd() as etcd:
        yield etcd


@pytest.fixture(params=["memory", pytest.param("etcd", marks=pytest.mark.etcd)])
async def kv(request: pytest.FixtureRequest) -> AsyncIterator[KV]:
    store: KV
    if request.param == "memory":
        store = MemoryKV()
    else:
        store = EtcdKV([request.getfixturevalue("shared_etcd").url])
    yield store
    await store.close()
