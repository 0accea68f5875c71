"""ClusterTrustBundle: authorities that pods may be given to trust, of one signer or of nobody in particular (beta).

Follows `pkg/registry/certificates/clustertrustbundle` and `pkg/apis/certificates/validation`; who may attest for a signer is admission's.
"""
from __future__ import annotations

import re

from cryptography import x509

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import CLUSTER_TRUST_BUNDLES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.certificates.certificatesigningrequest import signer_problems
from kubepy.apiserver.registry.columns import NAME, at, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.relabel import in_version
from kubepy.apiserver.request import Context

_SIGNER, _BUNDLE = Path("spec.signerName"), Path("spec.trustBundle")
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\r?\n(.*?)-----END \1-----", re.S)
_OMITTED = "<value omitted>"
MAX_BUNDLE = 1 << 20


class ClusterTrustBundleStrategy(Strategy):
    allow_unconditional_update = False
    name_kind = "own"

    def validate(self, context: Context, obj: Object) -> Errors:
        return _problems(obj) + bundle_problems(at(obj, "spec.trustBundle", ""), _BUNDLE)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        """A bundle that stays as it is may have become invalid by newer rules."""
        errors = _problems(obj)
        if at(obj, "spec.trustBundle", "") != at(old, "spec.trustBundle", ""):
            errors += bundle_problems(at(obj, "spec.trustBundle", ""), _BUNDLE)
        return errors + check.immutable(at(obj, "spec.signerName", ""), at(old, "spec.signerName", ""), _SIGNER)


def prefix_of(signer: str) -> str:
    """What the names of a signer's bundles begin with."""
    return signer.replace("/", ":") + ":"


def _problems(obj: Object) -> Errors:
    signer, text = at(obj, "spec.signerName", ""), obj["metadata"].get("name") or ""
    errors = [field.invalid(Path("metadata.name"), text, why) for why in name_problems(text, signer) if text]
    return errors + (signer_problems(signer, _SIGNER) if signer else [])


def name_problems(text: str, signer: str) -> list[str]:
    """What is wrong with the name of a signer's bundle, or of one of nobody's."""
    if not signer:
        if ":" in text:
            return ["ClusterTrustBundle without signer name must not have \":\" in its name"]
        return name.subdomain(text)
    if not text.startswith(prefix_of(signer)):
        return [f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix_of(signer)}"]
    return name.subdomain(text.removeprefix(prefix_of(signer)))


def bundle_problems(text: str, path: Path) -> Errors:
    """Every block is one authority's certificate, and none comes twice."""
    if len(text.encode()) > MAX_BUNDLE:
        return [field.too_long(path, MAX_BUNDLE)]
    errors: Errors = []
    seen: dict[bytes, list[int]] = {}
    for position, block in enumerate(_BLOCK.finditer(text)):
        why, der = _block(block)
        if why:
            errors.append(field.invalid(path, _OMITTED, f"entry {position} {why}"))
        else:
            seen.setdefault(der, []).append(position)
    if errors:
        return errors
    if not seen:
        return [field.invalid(path, _OMITTED, "at least one trust anchor must be provided")]
    return [field.invalid(path, _OMITTED, f"duplicate trust anchor (indices [{' '.join(map(str, positions))}])")
            for positions in seen.values() if len(positions) > 1]


def _block(block: re.Match[str]) -> tuple[str, bytes]:
    """What is wrong with a block, or its bytes."""
    if block[1] != "CERTIFICATE":
        return f"has bad block type: {block[1]}", b""
    if ":" in block[2]:
        return "has PEM block headers", b""
    try:
        found = x509.load_pem_x509_certificate(block[0].encode())
        constraints = [item.value for item in found.extensions if isinstance(item.value, x509.BasicConstraints)]
    except ValueError:
        return "does not parse as X.509", b""
    if not constraints or not constraints[0].ca:
        return "does not have the CA bit set", b""
    return "", found.tbs_certificate_bytes + found.signature


KIND = Kind(
    CLUSTER_TRUST_BUNDLES,
    "clustertrustbundle",
    ClusterTrustBundleStrategy(),
    columns=(
        NAME,
        column("SignerName", "string", "=certificates.v1beta1.ClusterTrustBundleSpec.signerName",
               lambda obj: at(obj, "spec.signerName", "")),
    ),
    selectable={"spec.signerName": lambda obj: at(obj, "spec.signerName", "")},
    unknown_field="field label not supported: {field}",
)
ALPHA = in_version(KIND, "v1alpha1")
