"""CertificateSigningRequest: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource


class CertificateSigningRequestStrategy(Strategy):
    has_status = True
    name_kind = "path"


KIND = Kind(
    CERTIFICATE_SIGNING_REQUESTS,
    "certificatesigningrequest",
    CertificateSigningRequestStrategy(),
    short_names=("csr",),
    subresources=(Subresource("approval", ("get", "patch", "update")), STATUS),
)
