"""Termination messages: what a container wrote into its termination file, or the end of its log."""
from __future__ import annotations

from pathlib import Path

from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.pod import spec as podspec

MAX_MESSAGE = 4096
MAX_LOG_MESSAGE = 2048
MAX_LOG_LINES = 80


def termination_message(status: pb.ContainerStatus) -> str:
    """The message of an ended container; "" when it left none."""
    path = status.annotations.get(podspec.TERMINATION_PATH, "")
    source = next((mount.host_path for mount in status.mounts if mount.container_path == path), "")
    text = ""
    if source:
        try:
            with open(source, "rb") as file:
                text = file.read(MAX_MESSAGE).decode(errors="replace")
        except OSError as error:
            text = f"Error on reading termination log {source}: {error}"
    failed = status.exit_code != 0 or status.reason == "OOMKilled"
    if not text and failed and status.annotations.get(podspec.TERMINATION_POLICY) == "FallbackToLogsOnError":
        text = _log_end(Path(status.log_path))
    return text


def _log_end(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 64 * 1024))
            lines = file.read().decode(errors="replace").splitlines()[-MAX_LOG_LINES:]
    except OSError:
        return ""
    text = "".join(_content(line) for line in lines)
    return text[-MAX_LOG_MESSAGE:]


def _content(line: str) -> str:
    """A CRI log line's text: `time stream tag text`; a partial line (tag P) has no end."""
    parts = line.split(" ", 3)
    if len(parts) < 4:
        return ""
    return parts[3] + ("" if parts[2].startswith("P") else "\n")
