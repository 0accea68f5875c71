"""Certificates for pods in projected volumes (`podCertificate`): a key is made here, a signer asked by PodCertificateRequest, both renewed.

Follows upstream's pod certificate manager: a mount waits until the signer has answered; what is denied or failed stays so for the pod; a
certificate is renewed, with a new key, from the time its signer names. The resource is beta and off by default: a server without it says
so in the pod's events. Keys are in memory and in the pod's volume (a tmpfs), nowhere else.
"""
from __future__ import annotations

import asyncio
import base64
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kubepy.api.errors import ApiError
from kubepy.api.resource import POD_CERTIFICATE_REQUESTS, SERVICE_ACCOUNTS
from kubepy.api.types import Object
from kubepy.base.clock import Clock, parse_time
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.interface import Client
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.volume.payload import PayloadError

log = get_logger("certificate")
_WATCH, _RETRY = 60, 30.0
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\n(?:[\w-]+:.*\n)*\n?(.*?)-----END CERTIFICATE-----", re.DOTALL)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_KEYS: dict[str, Callable[[], PrivateKey]] = {
    "RSA3072": lambda: rsa.generate_private_key(65537, 3072), "RSA4096": lambda: rsa.generate_private_key(65537, 4096),
    "ECDSAP256": lambda: ec.generate_private_key(ec.SECP256R1()), "ECDSAP384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ECDSAP521": lambda: ec.generate_private_key(ec.SECP521R1()), "ED25519": ed25519.Ed25519PrivateKey.generate}


@dataclass(frozen=True, slots=True)
class Credential:
    key: bytes
    """PKCS #8 in PEM."""
    chain: bytes
    refresh_at: float
    ends: float


@dataclass(slots=True)
class _Held:
    credential: Credential | None = None
    refused: str = ""
    problem: str = ""
    task: asyncio.Task[None] | None = None


class _Refused(Exception):
    pass


class PodCertificates:
    """By pod, volume and the projection's place in it. `changed(uid)` is told when a pod's files are to be written."""

    def __init__(self, client: Client, clock: Clock, node_name: str, node: Callable[[], Object | None],
                 changed: Callable[[str], None]) -> None:
        self._client = client
        self._clock = clock
        self._node_name = node_name
        self._node = node
        self._changed = changed
        self._held: dict[tuple[str, str, int], _Held] = {}
        self._tasks = Tasks("certificates", clock)

    def get(self, pod: Object, volume: str, index: int, source: Object) -> Credential:
        """The newest there is; asks for one when there is none or it is time. Raises PayloadError while there is none."""
        uid = podspec.uid_of(pod)
        held = self._held.setdefault((uid, volume, index), _Held())
        credential, now = held.credential, self._clock.now()
        due = credential is None or now >= credential.refresh_at
        if due and not held.refused and (held.task is None or held.task.done()):
            held.task = self._tasks.start(self._renew(pod, held, source), f"{uid}/{volume}/{index}")
        if credential is not None and now < credential.ends:
            return credential
        raise PayloadError(held.refused or held.problem or f"pod certificate of signer {source['signerName']} has not been issued yet")

    def forget(self, uid: str) -> None:
        for key in [key for key in self._held if key[0] == uid]:
            held = self._held.pop(key)
            if held.task is not None:
                held.task.cancel()

    async def stop(self) -> None:
        await self._tasks.stop()

    async def _renew(self, pod: Object, held: _Held, source: Object) -> None:
        """One request, until it is answered; what cannot be asked is tried again later."""
        uid = podspec.uid_of(pod)
        while True:
            try:
                held.credential, held.problem = await self._ask(pod, source), ""
                self._changed(uid)
                return
            except _Refused as error:
                held.refused = str(error)
                self._changed(uid)
                return
            except (ApiError, ConnectionError) as error:
                held.problem = f"cannot request a pod certificate: {error.message if isinstance(error, ApiError) else error}"
                log.warning("Cannot request a pod certificate", pod=podspec.full_name(pod), err=error)
                self._changed(uid)
            await self._clock.sleep(_RETRY)

    async def _ask(self, pod: Object, source: Object) -> Credential:
        metadata, spec = pod["metadata"], pod["spec"]
        namespace, account = metadata.get("namespace") or "default", spec.get("serviceAccountName") or "default"
        node = self._node()
        if node is None:
            raise ConnectionError("the node is not registered yet")
        key = await asyncio.to_thread(_new_key, source["keyType"])
        wanted: Object = {
            "signerName": source["signerName"], "podName": metadata["name"], "podUID": metadata["uid"], "serviceAccountName": account,
            "serviceAccountUID": (await self._client.get(SERVICE_ACCOUNTS, account, namespace))["metadata"]["uid"],
            "nodeName": self._node_name, "nodeUID": node["metadata"]["uid"], "stubPKCS10Request": base64.b64encode(_stub(key)).decode()}
        if source.get("maxExpirationSeconds") is not None:
            wanted["maxExpirationSeconds"] = source["maxExpirationSeconds"]
        if source.get("userAnnotations"):
            wanted["unverifiedUserAnnotations"] = source["userAnnotations"]
        request = await self._client.create(POD_CERTIFICATE_REQUESTS, {
            "apiVersion": "certificates.k8s.io/v1beta1", "kind": "PodCertificateRequest", "spec": wanted,
            "metadata": {"generateName": f"req-{metadata['name'][:50]}-", "namespace": namespace, "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}]}}, namespace)
        status = await self._answered(request, namespace)
        ends = parse_time(status["notAfter"]) if status.get("notAfter") else self._clock.now() + 3600.0
        begin = parse_time(status["beginRefreshAt"]) if status.get("beginRefreshAt") else (self._clock.now() + ends) / 2
        begin += random.random() * min(300.0, max(0.0, ends - begin) / 10)  # not all pods at once
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Credential(pem, _chain(status["certificateChain"]), begin, ends)

    async def _answered(self, request: Object, namespace: str) -> Object:
        name = request["metadata"]["name"]
        while True:
            if (status := _issued(request)) is not None:
                return status
            async for event in self._client.watch(POD_CERTIFICATE_REQUESTS, namespace,
                                                  resource_version=request["metadata"].get("resourceVersion") or "",
                                                  field_selector=f"metadata.name={name},spec.nodeName={self._node_name}",
                                                  timeout_seconds=_WATCH):
                if event.type == "DELETED":
                    raise ConnectionError(f"PodCertificateRequest {namespace}/{name} is gone")
                if event.type in ("ADDED", "MODIFIED") and (status := _issued(event.object)) is not None:
                    return status
            request = await self._client.get(POD_CERTIFICATE_REQUESTS, name, namespace)


def _issued(request: Object) -> Object | None:
    """The status with the certificate; None until there is an answer. Raises _Refused."""
    status: Object = request.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Denied", "Failed"):
            raise _Refused(f"PodCertificateRequest {request['metadata']['name']} was {condition['type'].lower()}: reason="
                           f"{condition.get('reason', '')!r} message={condition.get('message', '')!r}")
    return status if status.get("certificateChain") else None


def _new_key(kind: str) -> PrivateKey:
    if kind not in _KEYS:
        raise _Refused(f"unknown key type {kind!r}")
    return _KEYS[kind]()


def _stub(key: PrivateKey) -> bytes:
    """A PKCS #10 request that says nothing but whose key it is."""
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else \
        hashes.SHA384() if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size == 384 else \
        hashes.SHA512() if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size == 521 else hashes.SHA256()
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, digest).public_bytes(Encoding.DER)


def _chain(text: str) -> bytes:
    """The certificates alone, without headers and what stands between them."""
    return "".join(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n" for body in _BLOCK.findall(text)).encode()
