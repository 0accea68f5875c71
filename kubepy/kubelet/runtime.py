"""A private containerd: its configuration and what the machine needs of it.

`write_containerd_config` serves `kubepy up` and the tests alike. It writes the version 2 form, which containerd 1.6 to 2.x read.
"""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

from kubepy.kubelet.pause import PAUSE_IMAGE

_CNI_BIN = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")


def cni_bin_dir() -> str:
    """The directory that has the CNI plugins (`bridge` is looked for), or containerd's default."""
    return next((path for path in _CNI_BIN if os.access(f"{path}/bridge", os.X_OK)), _CNI_BIN[0])


def oom_score_restricted() -> bool:
    """Whether this machine refuses negative OOM scores (in some containers and small virtual machines it does)."""
    return subprocess.run(["/bin/sh", "-c", "echo -998 > /proc/self/oom_score_adj"], stderr=subprocess.DEVNULL, check=False).returncode != 0


def apparmor_enabled() -> bool:
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y" and os.path.exists("/sbin/apparmor_parser")
    except OSError:
        return False


def write_containerd_config(directory: Path | str, *, sandbox_image: str = PAUSE_IMAGE, cni_conf_dir: Path | str = "/etc/cni/net.d",
                            cni_bin: str | None = None, state: Path | str | None = None, socket: Path | str | None = None,
                            registry_dir: Path | str | None = None, systemd_cgroup: bool = False, snapshotter: str = "overlayfs",
                            restrict_oom: bool | None = None, disable_apparmor: bool | None = None) -> Path:
    """Writes `<directory>/config.toml` for a containerd whose root is `<directory>/root`; returns its path.

    `state` is its state directory (default `<directory>/state`; put it on a tmpfs), `socket` its address (default in `state`).
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    state = Path(state or directory / "state")
    socket = Path(socket or state / "containerd.sock")
    Path(cni_conf_dir).mkdir(parents=True, exist_ok=True)
    restrict = oom_score_restricted() if restrict_oom is None else restrict_oom
    no_apparmor = not apparmor_enabled() if disable_apparmor is None else disable_apparmor
    registry = f'\n  [plugins."io.containerd.grpc.v1.cri".registry]\n    config_path = "{registry_dir}"\n' if registry_dir else ""
    text = f"""# Written by kubepy; changes are overwritten.
version = 2
root = "{directory / 'root'}"
state = "{state}"
oom_score = 0

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{directory / 'opt'}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox_image}"
  restrict_oom_score_adj = {_flag(restrict)}
  disable_apparmor = {_flag(no_apparmor)}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  max_container_log_line_size = 16384
  tolerate_missing_hugetlb_controller = true
{registry}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin or cni_bin_dir()}"
    conf_dir = "{cni_conf_dir}"
    max_conf_num = 1

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = {_flag(systemd_cgroup)}
"""
    path = directory / "config.toml"
    path.write_text(text)
    return path


def _flag(value: bool) -> str:
    return "true" if value else "false"
