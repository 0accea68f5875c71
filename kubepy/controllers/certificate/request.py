"""What a certificate request asks for, and whether a kubernetes.io signer may grant it."""
from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from kubepy.api.types import Object

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (KUBELET_SERVING, KUBELET_CLIENT, CLIENT, LEGACY)

_CLIENT_USAGES = frozenset({"digital signature", "key encipherment", "client auth"})
_SERVING_USAGES = frozenset({"digital signature", "key encipherment", "server auth"})


class Refused(ValueError):
    """The signer does not grant this; the message goes into the Failed condition."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A parsed PKCS #10 request."""

    csr: x509.CertificateSigningRequest
    name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...]
    ips: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]


def parse(obj: Object) -> Wish:
    """Raises Refused for what is no request, or is not signed by its own key."""
    try:
        csr = x509.load_pem_x509_csr(base64.b64decode(obj["spec"]["request"]))
    except (ValueError, binascii.Error) as error:
        raise Refused(f"unable to parse csr {obj['metadata']['name']!r}: {error}") from error
    if not csr.is_signature_valid:
        raise Refused(f"unable to verify the signature of csr {obj['metadata']['name']!r}")
    names = [str(item.value) for item in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    organizations = tuple(str(item.value) for item in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    try:
        found = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = x509.SubjectAlternativeName([])
    return Wish(csr, names[0] if names else "", organizations,
                tuple(found.get_values_for_type(x509.DNSName)), tuple(str(ip) for ip in found.get_values_for_type(x509.IPAddress)),
                tuple(found.get_values_for_type(x509.RFC822Name)), tuple(found.get_values_for_type(x509.UniformResourceIdentifier)))


def check(signer: str, wish: Wish, usages: frozenset[str]) -> None:
    """Raises Refused, in upstream's words, when the signer's rules are not met."""
    if signer == CLIENT:
        if "client auth" not in usages or not usages <= _CLIENT_USAGES:
            raise Refused(f"usages are not valid for signer {signer}")
    elif signer == KUBELET_CLIENT:
        _check_node(wish)
        if wish.dns or wish.ips:
            raise Refused("DNS subjectAltNames are not allowed" if wish.dns else "IP subjectAltNames are not allowed")
        if "client auth" not in usages or "digital signature" not in usages or not usages <= _CLIENT_USAGES:
            raise Refused("usages did not match [client auth digital signature]")
    elif signer == KUBELET_SERVING:
        _check_node(wish)
        if not wish.dns and not wish.ips:
            raise Refused("at least one DNS or IP subjectAltName is required")
        if "server auth" not in usages or "digital signature" not in usages or not usages <= _SERVING_USAGES:
            raise Refused("usages did not match [digital signature server auth]")


def _check_node(wish: Wish) -> None:
    if wish.organizations != ("system:nodes",):
        raise Refused("subject organization is not system:nodes")
    if not wish.name.startswith("system:node:"):
        raise Refused("subject common name does not begin with system:node:")
    if wish.emails:
        raise Refused("email subjectAltNames are not allowed")
    if wish.uris:
        raise Refused("URI subjectAltNames are not allowed")


def has_condition(obj: Object, type: str) -> bool:
    return any(item["type"] == type for item in (obj.get("status") or {}).get("conditions") or ())


def usages(obj: Object) -> frozenset[str]:
    return frozenset(obj["spec"].get("usages") or ())
