"""`kubepy token`: makes, lists and deletes the bootstrap tokens with which machines join."""
from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import orjson

from kubepy.api.errors import ApiError
from kubepy.api.resource import SECRETS
from kubepy.base.flag import add_duration, comma_list
from kubepy.cli.join.discovery import pin
from kubepy.cli.join.token import GROUP, NAMESPACE, TYPE, USAGES, generate, manifest, parse, row
from kubepy.cli.settings import Settings, default_data_dir, host_port
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import Config, ConfigError, load

COLUMNS = ("TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS")


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="kubepy token", description="Bootstrap tokens: what a machine shows to join this cluster.",
                                     epilog="`kubepy token create` prints the command to run on the other machine.")
    actions = result.add_subparsers(dest="action", required=True, metavar="create|list|delete|generate")
    create = actions.add_parser("create", help="make a token and print the command that joins a machine with it")
    create.add_argument("token", nargs="?", help="the token (default: a random one)")
    add_duration(create, "--ttl", "24h", "how long it is good for; 0 for ever")
    create.add_argument("--description", default="", help="what it is for")
    create.add_argument("--usages", type=comma_list, default=list(USAGES), help="signing, authentication (default: both)")
    create.add_argument("--groups", type=comma_list, default=[GROUP], help=f"who its holder is (default: {GROUP})")
    create.add_argument("--quiet", action="store_true", help="print the token only")
    listing = actions.add_parser("list", help="show the tokens there are")
    listing.add_argument("-o", "--output", choices=("table", "json"), default="table")
    delete = actions.add_parser("delete", help="take tokens away")
    delete.add_argument("tokens", nargs="+", metavar="TOKEN", help="a token or its first six characters")
    actions.add_parser("generate", help="print a random token and do nothing else")
    for action in (create, listing, delete):
        action.add_argument("--data-dir", type=Path, default=default_data_dir())
        action.add_argument("--kubeconfig", type=Path, help="whose rights to use (default: the administrator's of the data directory)")
    return result


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    if options.action == "generate":
        print(generate())
        return 0
    try:
        return asyncio.run(_run(options))
    except (ValueError, ConfigError, ApiError, ConnectionError, TimeoutError) as error:
        print(f"kubepy token {options.action}: {error or 'the API server does not answer'}", file=sys.stderr)
        return 1


async def _run(options: argparse.Namespace) -> int:
    settings = Settings.load(options.data_dir)
    if settings is not None and settings.role == "node" and not options.kubeconfig:
        raise ValueError("this machine has joined a cluster: run this on its control plane, or give an administrator's --kubeconfig")
    if settings is None and not options.kubeconfig:
        raise ValueError(f"there is no cluster in {options.data_dir}: run this on the control plane (--data-dir names another place), or "
                         "give an administrator's --kubeconfig")
    config = load(options.kubeconfig or (settings or Settings(data_dir=options.data_dir)).kubeconfig("admin"))
    client = HttpClient(config)
    try:
        if options.action == "create":
            return await _create(client, config, settings, options)
        if options.action == "list":
            return await _list(client, options.output)
        for text in options.tokens:
            identifier = text.partition(".")[0]
            await client.delete(SECRETS, f"bootstrap-token-{identifier}", NAMESPACE)
            print(f'bootstrap token "{identifier}" deleted')
        return 0
    finally:
        await client.close()


async def _create(client: HttpClient, config: Config, settings: Settings | None, options: argparse.Namespace) -> int:
    token = parse(options.token) if options.token else generate()
    expires = time.time() + options.ttl if options.ttl else None
    await client.create(SECRETS, manifest(token, expires=expires, description=options.description, usages=options.usages,
                                          groups=options.groups))
    if options.quiet:
        print(token)
        return 0
    authority = config.ca_data or await asyncio.to_thread(Path(config.ca_file).read_bytes)
    host = host_port(settings.address, settings.secure_port) if settings else config.server.removeprefix("https://")
    print(f"kubepy join {host} --token {token} --ca-hash {pin(authority)}")
    return 0


async def _list(client: HttpClient, output: str) -> int:
    found = await client.list(SECRETS, NAMESPACE, field_selector=f"type={TYPE}")
    rows = [row(secret, time.time()) for secret in found["items"]]
    if output == "json":
        keys = [column.lower().replace(" ", "_") for column in COLUMNS]
        print(orjson.dumps([dict(zip(keys, values, strict=True)) for values in rows], option=orjson.OPT_INDENT_2).decode())
        return 0
    table = [COLUMNS, *rows]  # not by rich, which cuts a token where the terminal is narrow
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for values in table:
        print("   ".join(f"{value:{width}}" for value, width in zip(values, widths, strict=True)).rstrip())
    return 0
