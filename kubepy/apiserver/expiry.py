"""Says long before when a certificate that the server is configured with ends: a metric for each file, and a warning in the log.

Those of clients are in `apiserver_client_certificate_expiration_seconds`, under upstream's name; this metric is our own.
"""
from __future__ import annotations

from pathlib import Path

from cryptography import x509

from kubepy.apiserver.options import Options
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.metrics import gauge

log = get_logger("certificates")
SECONDS = 6 * 3600.0
SOON_DAYS = 30
_ENDS = gauge("kubepy_certificate_expiration_timestamp_seconds",
              "When the first certificate in a file that the API server is configured with ends, in seconds since 1970.", ("file",))


def files(options: Options) -> list[str]:
    given = (options.tls_cert_file, options.client_ca_file, options.requestheader_client_ca_file, options.proxy_client_cert_file,
             options.kubelet_client_certificate, options.kubelet_certificate_authority, options.etcd_certfile, options.etcd_cafile)
    return list(dict.fromkeys(path for path in given if path))


def look(paths: list[str], now: float) -> dict[str, float]:
    """How many days each file's certificates are good for; what cannot be read is left to who uses it."""
    left = {}
    for path in paths:
        try:
            ends = min(found.not_valid_after_utc.timestamp() for found in x509.load_pem_x509_certificates(Path(path).read_bytes()))
        except (OSError, ValueError):
            continue
        _ENDS.labels(path).set(ends)
        left[path] = (ends - now) / 86400
        if left[path] < SOON_DAYS:
            log.warning("A certificate ends soon" if left[path] > 0 else "A certificate has ended", file=path, days=round(left[path], 1))
    return left


async def keep_looking(options: Options, clock: Clock) -> None:
    while True:
        look(files(options), clock.now())
        await clock.sleep(SECONDS)
