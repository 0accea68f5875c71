from __future__ import annotations

import pytest

from kubepy.api.errors import Expired
from kubepy.apiserver.storage import history
from kubepy.apiserver.storage.entry import Codec, Entry, Event
from kubepy.apiserver.storage.history import History
from kubepy.base.clock import VirtualClock

CODEC = Codec()


def entry(name: str, revision: int, size: int = 0) -> Entry:
    obj = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "d"}, "data": "x" * size}
    return CODEC.entry(CODEC.encode(obj), revision)


def modified(name: str, revision: int, size: int = 0) -> Event:
    return Event("MODIFIED", revision, entry(name, revision, size), entry(name, revision - 1, size))


async def test_events_are_kept_while_watches_may_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MIN_EVENTS", 2)
    clock = VirtualClock()
    kept = History(clock, 10)
    for revision in (11, 12, 13, 14):
        kept.append([modified("a", revision)])
    assert [event.revision for event in kept.after(10)] == [11, 12, 13, 14]
    await clock.advance(80)
    kept.append([modified("a", 15)])
    assert [event.revision for event in kept.after(13)] == [14, 15]
    with pytest.raises(Expired, match=r"too old resource version: 12 \(13\)"):
        kept.after(12)


def test_events_of_one_revision_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MIN_EVENTS", 1)
    monkeypatch.setattr(history, "MAX_EVENTS", 3)
    kept = History(VirtualClock())
    kept.append([modified("a", 5), modified("b", 5), modified("c", 5)])
    kept.append([modified("a", 6)])
    assert kept.floor == 5
    assert [event.revision for event in kept.after(5)] == [6]


def test_old_states_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MIN_EVENTS", 2)
    monkeypatch.setattr(history, "MAX_BYTES", 10_000)
    kept = History(VirtualClock())
    for revision in range(1, 50):
        kept.append([modified("a", revision, 1_000)])
    assert 2 <= len(kept) <= 10


def test_a_long_history_is_cut_without_losing_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MIN_EVENTS", 10)
    monkeypatch.setattr(history, "MAX_EVENTS", 100)
    kept = History(VirtualClock())
    for revision in range(1, 3_000):
        kept.append([modified("a", revision)])
    assert (len(kept), kept.floor) == (100, 2_899)
    assert [event.revision for event in kept.after(2_990)] == list(range(2_991, 3_000))


def test_the_past_is_what_is_left_when_changes_are_undone() -> None:
    kept = History(VirtualClock(), 1)
    kept.append([Event("ADDED", 2, entry("new", 2)), modified("a", 3), modified("a", 4)])
    gone = entry("gone", 1)
    kept.append([Event("DELETED", 5, gone.at(5), gone), Event("ADDED", 6, entry("gone", 6))])
    then = kept.undo(1)
    assert then["d/new"] is None
    assert then["d/gone"] is gone
    was = then["d/a"]
    assert was is not None
    assert was.revision == 2
    assert set(kept.undo(4)) == {"d/gone"}
