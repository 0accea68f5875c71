"""`kubepy status`: what runs on this machine, with PIDs, health and versions."""
from __future__ import annotations

import argparse
import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kubepy import __version__
from kubepy.api.errors import ApiError
from kubepy.api.resource import NODES
from kubepy.base.process import ProcessId
from kubepy.cli import supervisor
from kubepy.cli.component import Component, plan_components
from kubepy.cli.settings import Settings, default_data_dir
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load


def main(argv: list[str]) -> int:
    """Exit status 0 when everything is ready, 1 when something is not, 3 when no cluster runs (as `systemctl status`)."""
    parser = argparse.ArgumentParser(prog="kubepy status", description="Says what of the cluster on this machine runs, and how it fares.")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(argv)
    settings = Settings.load(options.data_dir)
    pid = supervisor.running_pid(settings) if settings else None
    if settings is None or (pid is None and not supervisor.read_state(settings)):
        print(f"No cluster runs here (data directory {options.data_dir}). `kubepy up` starts one.")
        return 3
    rows = [_row(component, supervisor.read_state(settings)) for component in plan_components(settings)]
    nodes = asyncio.run(_nodes(settings))
    if options.output == "json":
        report = {"supervisor": pid, "server": settings.server, "parts": rows, "nodes": nodes}
        print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(settings, pid, rows, nodes)
    healthy = pid and nodes and all(row["phase"] == "ready" for row in rows) and set(nodes.values()) == {"Ready"}
    return 0 if healthy else 1


def _row(component: Component, state: dict[str, Any]) -> dict[str, Any]:
    part = state.get("parts", {}).get(component.name, {})
    alive = bool(part) and ProcessId(part["pid"], part["started"]).alive()
    phase = part.get("phase", "not started") if alive or part.get("phase") not in ("ready", "starting") else "dead"
    return {"name": component.name, "phase": phase, "pid": part.get("pid") if alive else None, "restarts": part.get("restarts", 0),
            "seconds": round(time.time() - part["since"]) if alive else None, "version": _version(component),
            "message": part.get("message", "")}


def _version(component: Component) -> str:
    if not component.version:
        return __version__
    try:
        words = subprocess.run(component.version, capture_output=True, text=True, timeout=5, check=False).stdout.splitlines()[0].split()
    except (OSError, subprocess.TimeoutExpired, IndexError):
        return "?"
    return next((word for word in words if word.lstrip("v")[:1].isdigit()), "?")


async def _nodes(settings: Settings) -> dict[str, str] | None:
    """Each node's Ready condition in kubectl's words; None when the API server cannot be asked."""
    client = HttpClient(load(settings.client))
    only = "" if settings.role == "control-plane" else f"metadata.name={settings.node_name}"  # a node may read itself
    try:
        async with asyncio.timeout(5):
            answer = await client.list(NODES, field_selector=only)
    except (ApiError, ConnectionError, TimeoutError):
        return None
    finally:
        await client.close()
    return {node["metadata"]["name"]: "Ready" if any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in node.get("status", {}).get("conditions", []))
        else "NotReady" for node in answer["items"]}


def _print(settings: Settings, pid: int | None, rows: list[dict[str, Any]], nodes: dict[str, str] | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"supervisor  {f'running, pid {pid}' if pid else '[red]not running[/]: kubepy up starts it and takes over what runs'}")
    console.print(f"server      {settings.server}  (data in {settings.data_dir})\n", markup=False)
    table = Table(box=None, header_style="", pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("NAME", "STATUS", "PID", "RESTARTS", "AGE", "VERSION"):
        table.add_column(column)
    for row in rows:
        colour = "green" if row["phase"] == "ready" else "red"
        table.add_row(row["name"], f"[{colour}]{row['phase']}[/]", str(row["pid"] or "-"), str(row["restarts"]),
                      f"{row['seconds']}s" if row["seconds"] is not None else "-", row["version"])
    console.print(table)
    for row in rows:
        if row["message"]:
            console.print(f"\n[red]{row['name']}[/]: {escape(row['message'])}")
    if nodes is None:
        console.print("\n[red]the API server does not answer[/]")
    else:
        console.print("\n" + ("\n".join(f"node {name}: {ready}" for name, ready in nodes.items()) or "no node has registered yet"))
