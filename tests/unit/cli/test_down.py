"""`kubepy down --purge`: what is unmounted."""
from __future__ import annotations

from pathlib import Path

from kubepy.cli.down import mounts_below

LINE = "36 35 98:0 / {} rw,noatime shared:1 - ext4 /dev/root rw"


def test_only_what_is_mounted_below_is_unmounted_and_the_deepest_first(tmp_path: Path) -> None:
    data = tmp_path / "kubepy"
    data.mkdir()
    points = ["/", f"{data}", f"{data}/a", f"{data}/a/deep", f"{data}/with\\040space", f"{data}-local/a"]
    assert mounts_below("\n".join(map(LINE.format, points)), [data]) == [f"{data}/with space", f"{data}/a/deep", f"{data}/a"]


def test_a_data_directory_behind_a_link_is_found(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "link").symlink_to(disk)
    assert mounts_below(LINE.format(f"{disk}/a"), [tmp_path / "link"]) == [f"{disk}/a"]
