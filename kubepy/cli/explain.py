"""`kubepy explain-scheduling`: why a pod is where it is, or why it is nowhere; also for a pod that does not exist yet."""
from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import yaml
from rich.console import Console
from rich.table import Table

from kubepy.api.errors import ApiError
from kubepy.cli.settings import Settings, default_data_dir
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import ConfigError, find, load

_TEMPLATES = {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"}


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubepy explain-scheduling",
        description="Shows for each node the filter that refuses a pod, or each scheduling plugin's part of its score.",
        epilog="examples:\n  kubepy explain-scheduling web-0 -n shop\n"
               "  kubepy explain-scheduling -f deployment.yaml                 what if it were created now?\n"
               "  kubepy explain-scheduling web-0 --without node-1             where would it go if node-1 were drained?",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pod", nargs="?", help="a pod that exists")
    parser.add_argument("-f", "--filename", help="a manifest of a pod, or of a workload with a pod template; - for standard input")
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("--without", default="", metavar="NODE[,NODE]", help="nodes to leave out, as if they had been drained")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--scheduler", default="https://127.0.0.1:10259", help="the scheduler's secure port (default: %(default)s)")
    parser.add_argument("--kubeconfig", default="", help="whose rights to ask with (default: this machine's admin, or $KUBECONFIG)")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help=argparse.SUPPRESS)
    return parser


def main(argv: list[str]) -> int:
    flags = parser()
    options = flags.parse_args(argv)
    if bool(options.pod) == bool(options.filename):
        flags.error("give either a pod's name or a manifest with -f")
    try:
        answer = asyncio.run(_ask(options, pod_of(_read(options.filename), options.namespace) if options.filename else None))
    except (ApiError, ConnectionError, ConfigError, OSError, ValueError, yaml.YAMLError) as error:
        print(f"kubepy explain-scheduling: {error}", file=sys.stderr)
        return 1
    if options.output == "json":
        print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        show(answer, Console(highlight=False, soft_wrap=True))
    return 0 if answer["feasible"] else 3


def pod_of(manifest: Any, namespace: str) -> dict[str, Any]:
    """The pod a manifest is, or the one its template makes; raises ValueError for anything else."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("spec"), dict):
        raise ValueError("the manifest is no Kubernetes object with a spec")
    kind, metadata = manifest.get("kind"), manifest.get("metadata") or {}
    if kind == "Pod":
        spec, labels = manifest["spec"], metadata.get("labels") or {}
    elif kind in _TEMPLATES:
        template = manifest["spec"].get("template") or {}
        spec, labels = template.get("spec") or {}, (template.get("metadata") or {}).get("labels") or {}
    else:
        raise ValueError(f"a {kind} has no pod template; give a Pod or one of {', '.join(sorted(_TEMPLATES))}")
    return {"apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {
        "name": metadata.get("name") or "what-if", "namespace": metadata.get("namespace") or namespace, "labels": labels}}


def _read(filename: str) -> Any:
    text = sys.stdin.read() if filename == "-" else Path(filename).read_text()
    return next((item for item in yaml.safe_load_all(text) if isinstance(item, dict) and item.get("kind") in {"Pod", *_TEMPLATES}), None)


async def _ask(options: argparse.Namespace, pod: dict[str, Any] | None) -> dict[str, Any]:
    settings = Settings.load(options.data_dir)
    admin = settings.kubeconfig("admin") if settings else None
    path = options.kubeconfig or (str(admin) if admin and os.access(admin, os.R_OK) else "")
    # The scheduler's certificate is its own, as kube-scheduler's: only the loopback port of this machine is asked by default.
    config = replace(load(path) if path else find(), server=options.scheduler, insecure=True, ca_data=b"", ca_file="")
    client = HttpClient(config)
    query = {"without": options.without} if options.without else {}
    try:
        if pod is None:
            target = f"/debug/explain?{urlencode({'pod': f'{options.namespace}/{options.pod}', **query}, quote_via=quote)}"
            return dict(orjson.loads(await client.raw("GET", target)))
        target = f"/debug/explain?{urlencode(query)}" if query else "/debug/explain"
        return dict(orjson.loads(await client.raw("POST", target, orjson.dumps(pod))))
    finally:
        await client.close()


def show(answer: dict[str, Any], console: Console) -> None:
    nodes = answer["nodes"]
    console.print(f"pod {answer['pod']} (profile {answer['profile']}): {answer['feasible']} of {len(nodes)} nodes fit")
    for gate in answer["gates"]:
        console.print(f"[yellow]held back:[/] {gate}")
    if answer["message"]:
        console.print(answer["message"], markup=False)
    plugins = sorted({name for node in nodes for name in node.get("scores", {})})
    table = Table(box=None, header_style="", pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("NODE", "FITS", "SCORE", *plugins, "WHY NOT"):
        table.add_column(column)
    for node in nodes:
        scores = node.get("scores", {})
        why = f"{node.get('plugin', '')}: {', '.join(node['reasons'])}".removeprefix(": ") if "reasons" in node else ""
        fits, total = "[green]yes[/]" if node["feasible"] else "[red]no[/]", f"{node['score']:.0f}" if "score" in node else ""
        table.add_row(node["name"], fits, total, *(f"{scores[name]:.0f}" if name in scores else "" for name in plugins), why)
    console.print(table)
