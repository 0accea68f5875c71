"""Flags that every component of Kubernetes takes and that say little or nothing here: about metrics, logs, HTTP/2, older versions.

What can be had is had (`--disabled-metrics`, `--tls-sni-cert-key`, `--permit-port-sharing`); what changes nothing because it is so anyway
is taken; what would be another behaviour than was asked for is refused, with the reason.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from kubepy import KUBERNETES_VERSION
from kubepy.base.flag import add_boolean, boolean, comma_list
from kubepy.base.http.sni import Named

MINOR = ".".join(KUBERNETES_VERSION.removeprefix("v").split(".")[:2])
_LOG_OPTIONS = "feature LoggingAlphaOptions is disabled"
_LABELS = "labels of metrics are not restricted here"


def refused(why: str, *, harmless: tuple[str, ...] = ("",)) -> Callable[[str], str]:
    """A flag's type that takes the harmless values only."""
    def read(text: str) -> str:
        if text not in harmless:
            raise argparse.ArgumentTypeError(f"{text!r} is not supported: {why}")
        return text
    return read


def refused_when(value: bool, why: str) -> Callable[[str], bool]:
    """A boolean flag's type that takes one value only."""
    def read(text: str) -> bool:
        found = boolean(text)
        if found is value:
            raise argparse.ArgumentTypeError(f"{text} is not supported: {why}")
        return found
    return read


def this_version(text: str) -> str:
    """`1.36`, `v1.36`, `kube=1.36`: there is no other version to be."""
    for item in comma_list(text):
        if item.rpartition("=")[2].removeprefix("v") != MINOR:
            raise argparse.ArgumentTypeError(f"{item!r} is not supported: this is {MINOR} and nothing else")
    return text


def named(text: str) -> Named:
    try:
        return Named.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def accept(parser: argparse._ActionsContainer, name: str, text: str, **more: Any) -> None:
    """A flag that changes nothing here, with what it would say."""
    parser.add_argument(name, default="", metavar="X", help=f"accepted for compatibility: {text}", **more)


def add_serving(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--tls-sni-cert-key", type=named, action="append", default=[], metavar="CERT,KEY[:NAMES]",
                        help="another certificate, for clients that ask for its names; may be repeated")
    add_boolean(parser, "--permit-port-sharing", False, "several processes may listen on the port (SO_REUSEPORT)")
    accept(parser, "--permit-address-sharing", "addresses are always reused (SO_REUSEADDR)", nargs="?")
    accept(parser, "--disable-http2-serving", "HTTP/1.1 is all that is served", nargs="?")
    accept(parser, "--http2-max-streams-per-connection", "HTTP/1.1 is all that is served")


def add_others(parser: argparse.ArgumentParser) -> None:
    metrics = parser.add_argument_group("metrics")
    metrics.add_argument("--disabled-metrics", type=comma_list, default=[], metavar="NAMES", help="metrics that are not to be shown")
    for name in ("--allow-metric-labels", "--allow-metric-labels-manifest"):
        metrics.add_argument(name, type=refused(_LABELS), default="", metavar="X", help=argparse.SUPPRESS)
    logging = parser.add_argument_group("logging in other forms")
    for form in ("json", "text"):
        logging.add_argument(f"--log-{form}-split-stream", type=refused_when(True, _LOG_OPTIONS), nargs="?", const=False, default=False,
                             metavar="BOOL", help=argparse.SUPPRESS)
        logging.add_argument(f"--log-{form}-info-buffer-size", type=refused(_LOG_OPTIONS, harmless=("", "0")), default="0", metavar="SIZE",
                             help=argparse.SUPPRESS)
    version = parser.add_argument_group("versions")
    for name in ("--emulated-version", "--min-compatibility-version"):
        version.add_argument(name, type=this_version, default="", metavar="VERSION", help=f"only {MINOR}")
    accept(version, "--emulation-forward-compatible", "no other version is emulated", nargs="?")
