"""Old certificate requests go (`csrcleaner`): an hour after their answer, a day without one, or when the certificate has expired.

Those of pods (`pcrcleaner`) go a quarter of an hour after they came: kubelets have taken the answer long since."""
from __future__ import annotations

import base64

from cryptography import x509

from kubepy.api.errors import NotFound
from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS, POD_CERTIFICATE_REQUESTS
from kubepy.api.types import Object
from kubepy.base.clock import parse_time
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.kit.environment import Environment

ANSWERED, PENDING = 3600.0, 86400.0
OF_PODS = 900.0


def expires_at(obj: Object) -> float:
    """Epoch seconds at which the request may go."""
    status = obj.get("status") or {}
    moments = [parse_time(item["lastUpdateTime"]) + ANSWERED for item in status.get("conditions") or ()
               if item["type"] in ("Approved", "Denied", "Failed") and item.get("lastUpdateTime")]
    if not moments:
        moments = [parse_time(obj["metadata"]["creationTimestamp"]) + PENDING]
    if pem := status.get("certificate"):
        try:
            moments.append(x509.load_pem_x509_certificate(base64.b64decode(pem)).not_valid_after_utc.timestamp())
        except ValueError:
            return min(moments)
    return min(moments)


def controller(env: Environment) -> Controller:
    client = env.client_for("certificate-controller")
    cache = env.informers.informer(CERTIFICATE_SIGNING_REQUESTS).lister

    async def reconcile(name: str) -> float | None:
        obj = cache.get(name)
        if obj is None:
            return None
        if (wait := expires_at(obj) - env.clock.now()) > 0:
            return wait
        try:
            await client.delete(CERTIFICATE_SIGNING_REQUESTS, name, uid=obj["metadata"]["uid"])
        except NotFound:
            return None
        return None

    return Controller("csrcleaner", reconcile, (Watch(CERTIFICATE_SIGNING_REQUESTS),))


def pods(env: Environment) -> Controller:
    client = env.client_for("podcertificaterequestcleaner")
    cache = env.informers.informer(POD_CERTIFICATE_REQUESTS).lister

    async def reconcile(key: str) -> float | None:
        namespace, name = split_key(key)
        obj = cache.get(name, namespace)
        if obj is None:
            return None
        if (wait := parse_time(obj["metadata"]["creationTimestamp"]) + OF_PODS - env.clock.now()) > 0:
            return wait
        try:
            await client.delete(POD_CERTIFICATE_REQUESTS, name, namespace, uid=obj["metadata"]["uid"])
        except NotFound:
            return None
        return None

    return Controller("podcertificaterequestcleaner", reconcile, (Watch(POD_CERTIFICATE_REQUESTS),))
