"""Gives the administrator access: merges a `kubepy` cluster, user and context into the kubeconfig kubectl reads."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings

NAME = "kubepy"


def target_path(given: Path | None) -> Path:
    """The file kubectl would write to: the first of $KUBECONFIG, or ~/.kube/config."""
    if given:
        return given
    first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(first) if first else Path.home() / ".kube" / "config"


def merge(existing: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """`existing` with our cluster, user and context put in place of those of the same name, and our context current."""
    merged = {"apiVersion": "v1", "kind": "Config", "preferences": {}, **existing}
    for section in ("clusters", "users", "contexts"):
        ours_named = [{**entry, "name": NAME} for entry in ours[section]]
        merged[section] = [entry for entry in existing.get(section) or [] if entry.get("name") != NAME] + ours_named
    merged["contexts"][-1] = {"name": NAME, "context": {"cluster": NAME, "user": NAME}}
    merged["current-context"] = NAME
    return merged


def without(existing: dict[str, Any]) -> dict[str, Any]:
    """`existing` without what `merge` put in."""
    rest = dict(existing)
    for section in ("clusters", "users", "contexts"):
        rest[section] = [entry for entry in existing.get(section) or [] if entry.get("name") != NAME]
    if rest.get("current-context") == NAME:
        rest["current-context"] = rest["contexts"][0]["name"] if rest["contexts"] else ""
    return rest


def merge_admin(settings: Settings, given: Path | None, progress: Progress) -> None:
    """Writes the merged file with mode 0600; a file that is not a kubeconfig is left alone, with a warning."""
    path = target_path(given)
    ours = yaml.safe_load(settings.kubeconfig("admin").read_text())
    try:
        existing = yaml.safe_load(path.read_text()) if path.exists() else {}
        if not isinstance(existing or {}, dict):
            raise ValueError("it is not a mapping")
    except (OSError, ValueError, yaml.YAMLError) as error:
        progress.warn(f"{path} was left as it is ({error}); use kubectl --kubeconfig {settings.kubeconfig('admin')}")
        return
    write(path, merge(existing or {}, ours))
    progress.done(f"kubectl is set up: context {NAME} in {path}")


def remove_admin(given: Path | None) -> None:
    path = target_path(given)
    if path.exists():
        existing = yaml.safe_load(path.read_text())
        if isinstance(existing, dict):
            write(path, without(existing))


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(path.name + ".new")
    with open(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
        yaml.safe_dump(content, file, sort_keys=False)
    partial.replace(path)
