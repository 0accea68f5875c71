"""State files: replaced whole, and written later when the disk was full."""
from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from kubepy.kubelet.checkpoint import Checkpoint


def test_on_a_full_disk_the_file_stays_and_is_written_when_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path / "deep" / "state")
    assert checkpoint.load() is None
    checkpoint.keep({"a": 1})
    really = os.open

    def full(path: Any, *rest: Any, **named: Any) -> int:
        really(path, *rest, **named)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    checkpoint.keep({"a": 2})
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save({"a": 3})
    checkpoint.retry()
    monkeypatch.undo()
    assert Checkpoint(checkpoint.path).load() == {"a": 1}
    assert [file.name for file in checkpoint.path.parent.iterdir()] == ["state"], "nothing half written is left"
    checkpoint.retry()
    assert Checkpoint(checkpoint.path).load() == {"a": 2}
    assert checkpoint.path.stat().st_mode & 0o777 == 0o600
