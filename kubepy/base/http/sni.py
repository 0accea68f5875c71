"""Several serving certificates on one port, chosen by the name a client asks for (SNI), as `--tls-sni-cert-key` gives them.

`CERTIFICATE,KEY` serves the names in the certificate, `CERTIFICATE,KEY:NAME,NAME` the names given; `*.example.com` stands for one
label. Names that are given win over names found in certificates, whole names over wildcards, earlier flags over later ones. Who asks
for no known name gets the ordinary certificate.

Known difference: a client that connects by IP address sends no name; upstream then looks for a certificate of the address it reached,
here only an address the server is bound to is known.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID


class Named(NamedTuple):
    certificate: str
    key: str
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Named:
        """Raises ValueError with what is wrong."""
        files, colon, names = text.partition(":")
        found = tuple(name.strip().lower() for name in names.split(",")) if colon else ()
        if colon and not all(found):
            raise ValueError("empty names list is not allowed")
        parts = [part.strip() for part in files.split(",")]
        if len(parts) != 2 or not all(parts):
            raise ValueError("expected comma separated certificate and key file paths")
        return cls(parts[0], parts[1], found)


def names_of(pem: bytes) -> tuple[str, ...]:
    """What the first certificate of a chain may be served for. Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(pem)
    found = [str(item.value) for item in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if " " not in str(item.value)]
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return tuple(name.lower() for name in found)
    found += alternatives.get_values_for_type(x509.DNSName)
    found += [str(address) for address in alternatives.get_values_for_type(x509.IPAddress)]
    return tuple(dict.fromkeys(name.lower() for name in found))


def order(certificates: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> dict[str, int]:
    """Which certificate a name gets, as a place in `certificates`: pairs of the names given to one and the names found in it."""
    chosen: dict[str, int] = {}
    for given in (True, False):
        for place, (explicit, found) in enumerate(certificates):
            for name in explicit if given else () if explicit else found:
                chosen.setdefault(name, place)
    return chosen


def choose(names: Mapping[str, int], asked: str) -> int | None:
    """The certificate for a name a client asks for; None: the ordinary one."""
    name = asked.lower().removesuffix(".")
    _, dot, rest = name.partition(".")
    return names.get(name, names.get(f"*.{rest}") if dot else None)
