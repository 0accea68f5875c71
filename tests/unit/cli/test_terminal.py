"""A terminal through a directory, as `deploy/local-cluster shell` gives it in a virtual machine."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy import terminal


def said(directory: Path) -> str:
    found, number = b"", 0
    while (data := terminal.take(directory, "job.out", number)) is not None:
        found, number = found + data, number + 1
    return found.decode()


def test_what_is_typed_is_done_on_a_terminal_of_the_right_size(tmp_path: Path) -> None:
    for number, line in enumerate((b"stty size\n", b"exit 3\n")):
        terminal.put(tmp_path, "job.in", number, line)
    assert terminal.answer(tmp_path, "job", ["sh"], dict(os.environ), 30, 100) == 3
    assert "30 100" in said(tmp_path)
    assert not list(tmp_path.iterdir()), "nothing is left"


def test_what_it_leaves_behind_does_not_keep_the_terminal(tmp_path: Path) -> None:
    assert terminal.answer(tmp_path, "job", ["sh", "-c", "(trap '' HUP; exec sleep 5) & echo done"], dict(os.environ), 24, 80) == 0
    assert "done" in said(tmp_path)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        terminal.answer(tmp_path, "job", ["no-such-program"], dict(os.environ), 24, 80)
