"""`kubepy certs check` says when each certificate of a cluster ends; `kubepy certs renew` issues new ones before that.

A joined node, which has no authority, asks the cluster for its own. Both kinds of machine also renew by themselves while they run, and
every part follows its files, so nothing is restarted. Authorities are never renewed here:
replacing one is a rotation that every node takes part in.
"""
from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from kubepy.cli.join import identity
from kubepy.cli.pki.issue import Pair, Subject, make_leaf, new_key, write_pair
from kubepy.cli.pki.layout import RENEW_BEFORE
from kubepy.cli.prepare import prepare_identities
from kubepy.cli.settings import DEFAULT_DATA, Settings
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="kubepy certs", description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("action", choices=("check", "renew"), help="check: say when they end; renew: issue those again that end soon")
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA, help="the cluster's data (default: %(default)s)")
    parser.add_argument("--within", type=int, default=RENEW_BEFORE.days, metavar="DAYS", help="what counts as soon (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="renew: also those that are good for longer")
    arguments = parser.parse_args(argv)
    directory = arguments.data_dir / "pki"
    if not directory.is_dir():
        print(f"kubepy certs: there is no {directory}; `kubepy up` makes it, --data-dir names another place", file=sys.stderr)
        return 1
    margin = timedelta(days=arguments.within)
    settings = Settings.load(arguments.data_dir)
    if settings is not None and settings.role == "node" and arguments.action == "renew":
        return asyncio.run(ask(settings, everything=arguments.all))
    if arguments.action == "check":
        return check(directory, margin)
    status = renew(directory, margin, everything=arguments.all)
    if settings is not None and not status:
        prepare_identities(settings)  # the administrator's kubeconfig holds its certificate
    return status


def check(directory: Path, margin: timedelta, now: datetime | None = None) -> int:
    """Prints a line for each certificate; 1 when one ends within the margin."""
    moment = now or datetime.now(UTC)
    soon = 0
    # What a joined node's kubelet keeps for itself it also renews itself; when it ends is worth knowing all the same.
    for path in [*certificates(directory), *sorted((directory / "kubelet").glob("*-current.pem"))]:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        left = certificate.not_valid_after_utc - moment
        ends_soon = left < margin
        soon += ends_soon
        state = "EXPIRED" if left.total_seconds() < 0 else "ends soon" if ends_soon else "ok"
        name = str(path.relative_to(directory).with_suffix(""))
        print(f"{name:32} {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}  {left.days:5} days  {state}")
    return 1 if soon else 0


def renew(directory: Path, margin: timedelta, *, everything: bool = False, now: datetime | None = None) -> int:
    """Issues certificates that end within the margin again, with a new key, the same identity and names."""
    moment = now or datetime.now(UTC)
    status = 0
    authorities = [(Pair(path, path.with_suffix(".key")), x509.load_pem_x509_certificate(path.read_bytes()))
                   for path in certificates(directory) if is_authority(path)]
    for path in certificates(directory):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        if is_authority(path) or not (everything or certificate.not_valid_after_utc - moment < margin):
            continue
        issuer = next((pair for pair, authority in authorities if _issued(certificate, authority)), None)
        if issuer is None or not issuer.key.exists():
            print(f"kubepy certs: the authority that issued {path.name} is not here with its key", file=sys.stderr)
            status = 1
            continue
        authority, key = issuer.load()
        fresh = new_key()
        write_pair(Pair(path, path.with_suffix(".key")), make_leaf(subject_of(certificate), fresh, authority, key, moment), fresh)
        print(f"renewed {path.relative_to(directory).with_suffix('')}")
    return status


async def ask(settings: Settings, *, everything: bool) -> int:
    """A joined node's way: the cluster's controllers issue them."""
    try:
        client = HttpClient(load(settings.client))
        try:
            for name in await identity.renew(settings, client, everything=everything):
                print(f"renewed {name}")
        finally:
            await client.close()
    except identity.FAILURES as error:
        print(f"kubepy certs: {error or 'the cluster did not answer in time'}", file=sys.stderr)
        return 1
    return 0


def certificates(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.crt"))


def is_authority(path: Path) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def subject_of(certificate: x509.Certificate) -> Subject:
    """What a certificate says, so that it can be said again."""
    names = certificate.subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
    groups = certificate.subject.get_attributes_for_oid(x509.oid.NameOID.ORGANIZATION_NAME)
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        served = [str(name.value) for name in alternative]
    except x509.ExtensionNotFound:
        served = []
    return Subject(str(names[0].value) if names else "", tuple(str(group.value) for group in groups),
                   server=x509.oid.ExtendedKeyUsageOID.SERVER_AUTH in usages, client=x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH in usages,
                   names=tuple(served))


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # InvalidSignature, ValueError or TypeError: another one did
        return False
    return True
