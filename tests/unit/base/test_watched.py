"""Files that are read again when they change."""
from __future__ import annotations

import os
from pathlib import Path

from kubepy.base.watched import Files


def test_what_cannot_be_read_is_asked_again_and_changes_nothing(tmp_path: Path) -> None:
    path, seen = tmp_path / "file", []
    path.write_text("one")

    def load() -> None:
        text = path.read_text()
        if text == "half":
            raise ValueError("half-written")
        seen.append(text)

    files = Files()
    files.follow("it", [str(path), ""], load)
    files.look()
    assert seen == []  # as it was when it was given
    path.write_text("half")
    files.look()
    files.look()
    path.unlink()
    files.look()
    assert seen == []
    (tmp_path / "next").write_text("two")
    os.replace(tmp_path / "next", path)
    files.look()
    files.look()
    assert seen == ["two"]
