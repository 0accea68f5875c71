"""Removing directories of local-path volumes for the provisioner: only its own kind, never through links, never under a pod."""
from __future__ import annotations

from pathlib import Path

import pytest

from kubepy.kubelet.server.access import subresources
from kubepy.kubelet.volume.localpath import InUse, LocalVolumes, NotAllowed, check

NAME = "pvc-01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(("name", "path"), [
    pytest.param("pvc-1", "/data/pvc-1_default_data", id="a name that is no claim's"),
    pytest.param(f"{NAME}/..", f"/data/{NAME}_default_data", id="a name with more in it"),
    pytest.param(NAME, f"data/{NAME}_default_data", id="a path from nowhere"),
    pytest.param(NAME, f"/data/../etc/{NAME}_x", id="a path that turns round"),
    pytest.param(NAME, f"/data/{NAME}_default_data/..", id="a path that leaves it again"),
    pytest.param(NAME, f"/data//{NAME}_x", id="a path that is not written plainly"),
    pytest.param(NAME, "/var/lib/etcd", id="another directory"),
    pytest.param(NAME, f"/data/{NAME}", id="a directory that is named like the volume but not by the provisioner"),
    pytest.param(NAME, f"/{NAME}_x", id="a directory at the root"),
    pytest.param(NAME, "/data/pvc-11111111-89ab-cdef-0123-456789abcdef_default_data", id="another volume's"),
    pytest.param(NAME, "", id="no path"),
])
def test_is_refused(name: str, path: str) -> None:
    with pytest.raises(NotAllowed):
        check(name, path)


async def test_the_directory_goes_and_what_its_links_point_to_stays(tmp_path: Path) -> None:
    path, kept = tmp_path / "volumes" / f"{NAME}_default_data", tmp_path / "kept"
    (path / "deep").mkdir(parents=True)
    kept.mkdir()
    (kept / "file").write_text("x")
    (path / "deep" / "link").symlink_to(kept)
    volumes = LocalVolumes()
    with pytest.raises(InUse):
        await volumes.remove(NAME, str(path), [path / "deep"])
    assert await volumes.remove(NAME, str(path), [tmp_path / "volumes" / "other"])
    assert not path.exists()
    assert (kept / "file").exists()
    assert not await volumes.remove(NAME, str(path), [])
    assert not await volumes.remove(NAME, f"{tmp_path}/nowhere/{NAME}_default_data", [])


async def test_no_link_leads_to_it(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / f"{NAME}_x"
    elsewhere.mkdir(parents=True)
    (tmp_path / "volumes").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / f"{NAME}_x").symlink_to(elsewhere)
    for above in ("volumes", "real"):
        with pytest.raises(OSError, match=r"Not a directory|symbolic"):
            await LocalVolumes().remove(NAME, f"{tmp_path}/{above}/{NAME}_x", [])
    assert elsewhere.exists()


def test_it_takes_a_right_of_its_own() -> None:
    assert subresources(f"/localVolumes/{NAME}") == ("localvolumes",)
