"""Rules of the kinds that are off by default."""
from __future__ import annotations

import base64
import copy
import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from kubepy.api.field import Path
from kubepy.apiserver.feature import SWITCHABLE
from kubepy.apiserver.registry.core.podspec_defaults import default_volume
from kubepy.apiserver.registry.core.podspec_gated import gated
from kubepy.apiserver.registry.core.podspec_volumes import volumes
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.optional import OPTIONAL
from kubepy.apiserver.request import Context, RequestInfo, User
from kubepy.base.gate import DEFAULT, Gates

ON = Gates(dict.fromkeys(SWITCHABLE, True))
KIND_OF = {item.kind.resource.kind: item.kind for item in reversed(OPTIONAL)}
KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
SERVER = {"apiServerID": "a", "encodingVersion": "apps/v1", "decodableVersions": ["apps/v1"]}


def certificate(key: Any = KEY, *, ca: bool = True, hours: float = 24, begin: datetime.datetime = NOW, number: int = 1) -> str:
    name = x509.Name([])
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(number)
            .not_valid_before(begin).not_valid_after(begin + datetime.timedelta(hours=hours)))
    if ca:
        made = made.add_extension(x509.BasicConstraints(True, None), critical=True)
    return made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def stub(key: Any = KEY) -> str:
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, digest)
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


ANCHOR = certificate()
GOOD: dict[str, dict[str, Any]] = {
    "StorageVersion": {"metadata": {"name": "apps.deployments"},
                       "status": {"storageVersions": [SERVER], "commonEncodingVersion": "apps/v1"}},
    "StorageVersionMigration": {"metadata": {"name": "m"}, "spec": {"resource": {"group": "apps", "resource": "deployments"}}},
    "DeviceTaintRule": {"metadata": {"name": "r"}, "spec": {
        "deviceSelector": {"driver": "d.io"}, "taint": {"key": "k", "effect": "NoExecute"}}},
    "ResourcePoolStatusRequest": {"metadata": {"name": "q"}, "spec": {"driver": "d.io"}},
    "ClusterTrustBundle": {"metadata": {"name": "a.io:b:c"}, "spec": {"signerName": "a.io/b", "trustBundle": ANCHOR}},
    "PodCertificateRequest": {"metadata": {"name": "p", "namespace": "ns"}, "spec": {
        "signerName": "a.io/b", "podName": "p", "podUID": "1", "serviceAccountName": "default", "serviceAccountUID": "2", "nodeName": "n",
        "nodeUID": "3", "stubPKCS10Request": stub()}},
}


def made(kind: str, change: dict[str, Any] | None = None) -> dict[str, Any]:
    obj = {"apiVersion": KIND_OF[kind].resource.api_version, "kind": kind, **copy.deepcopy(GOOD[kind])}
    for path, value in (change or {}).items():
        *parents, last = path.split(".")
        holder = obj
        for key in parents:
            holder = holder.setdefault(key, {})
        holder[last] = value
    KIND_OF[kind].strategy.default(obj)
    return obj


def context(kind: Kind) -> Context:
    return Context(User("me"), RequestInfo("/", "create"), kind)


def told(kind: str, change: dict[str, Any] | None = None) -> list[str]:
    return [str(error) for error in KIND_OF[kind].strategy.validate(context(KIND_OF[kind]), made(kind, change))]


@pytest.mark.parametrize("kind", GOOD)
def test_good_objects_pass_and_may_stay_as_they_are(kind: str) -> None:
    assert told(kind) == []
    assert KIND_OF[kind].strategy.validate_update(context(KIND_OF[kind]), made(kind), made(kind)) == []


@pytest.mark.parametrize(("kind", "change", "words"), [
    ("StorageVersion", {"metadata.name": "deployments"}, 'metadata.name: Invalid value: "deployments": name must be in the form of '
                                                         "<group>.<resource>"),
    ("StorageVersion", {"metadata.name": "apps.1x"}, "the resource segment a DNS-1035 label"),
    ("StorageVersion", {"status.commonEncodingVersion": "apps/v2"}, 'status.commonEncodingVersion: Invalid value: "apps/v2": the actual '
                                                                    "common encoding version is apps/v1"),
    ("StorageVersion", {"status.storageVersions": [{**SERVER, "decodableVersions": ["apps/v2"]}]},
     'status.storageVersions[0].decodableVersions: Invalid value: ["apps/v2"]: decodableVersions must include encodingVersion apps/v1'),
    ("StorageVersion", {"status.storageVersions": [{**SERVER, "apiServerID": "A_"}]}, "status.storageVersions[0].apiServerID"),
    ("StorageVersionMigration", {"spec.resource": {}}, "spec.resource.resource: Required value: resource is required"),
    ("DeviceTaintRule", {"spec.taint": {"key": "k", "effect": "PreferNoSchedule"}},
     'spec.taint.effect: Unsupported value: "PreferNoSchedule": supported values: "NoExecute", "NoSchedule", "None"'),
    ("DeviceTaintRule", {"spec.deviceSelector": {"device": "A"}}, "spec.deviceSelector.device: Invalid value"),
    ("ResourcePoolStatusRequest", {"spec.limit": 1001}, "spec.limit: Invalid value: 1001"),
    ("ResourcePoolStatusRequest", {"spec.driver": ""}, "spec.driver: Required value"),
    ("ClusterTrustBundle", {"metadata.name": "x"}, "ClusterTrustBundle for signerName a.io/b must be named with prefix a.io:b:"),
    ("ClusterTrustBundle", {"spec.signerName": ""}, 'ClusterTrustBundle without signer name must not have ":" in its name'),
    ("ClusterTrustBundle", {"spec.trustBundle": ANCHOR + ANCHOR}, "duplicate trust anchor (indices [0 1])"),
    ("ClusterTrustBundle", {"spec.trustBundle": certificate(ca=False)}, "entry 0 does not have the CA bit set"),
    ("ClusterTrustBundle", {"spec.trustBundle": "nothing"}, 'spec.trustBundle: Invalid value: "<value omitted>": at least one trust anchor '
                                                            "must be provided"),
    ("ClusterTrustBundle", {"spec.trustBundle": ANCHOR.replace("CERTIFICATE", "JUNK")}, "entry 0 has bad block type: JUNK"),
    ("PodCertificateRequest", {"spec.maxExpirationSeconds": 60}, "must be in the range [3600, 7862400]"),
    ("PodCertificateRequest", {"spec.signerName": "kubernetes.io/x", "spec.maxExpirationSeconds": 90000},
     "must be in the range [3600, 86400]"),
    ("PodCertificateRequest", {"spec.podUID": ""}, 'spec.podUID: Invalid value: "": must not be empty'),
    ("PodCertificateRequest", {"spec.pkixPublicKey": "AAAA"}, "must be empty if stubPKCS10Request is set"),
    ("PodCertificateRequest", {"spec.stubPKCS10Request": "AAAA"}, "must be a valid PKCS#10 CSR"),
    ("PodCertificateRequest", {"spec.stubPKCS10Request": stub(rsa.generate_private_key(65537, 2048))},
     'Invalid value: "2048-bit modulus": RSA keys must have modulus size 3072 or 4096'),
    ("PodCertificateRequest", {"spec.unverifiedUserAnnotations": {"plain": "x"}}, "must be a domain-prefixed path"),
])
def test_what_is_refused(kind: str, change: dict[str, Any], words: str) -> None:
    found = told(kind, change)
    assert any(words in error for error in found), found


@pytest.mark.parametrize("key", [KEY, ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 3072)],
                         ids=lambda key: type(key).__name__)
def test_the_older_proof_of_having_the_key(key: Any) -> None:
    raw = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if isinstance(key, rsa.RSAPrivateKey):
        proof = key.sign(b"1", padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        proof = key.sign(b"1", ec.ECDSA(hashes.SHA256()))
    else:
        proof = key.sign(b"1")
    change = {"spec.stubPKCS10Request": "", "spec.pkixPublicKey": base64.b64encode(raw).decode(),
              "spec.proofOfPossession": base64.b64encode(proof).decode()}
    assert told("PodCertificateRequest", change) == []
    assert told("PodCertificateRequest", {**change, "spec.podUID": "9"}) == [
        "spec.proofOfPossession: Invalid value: could not verify proof-of-possession signature"]


def text(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


ISSUED = {"type": "Issued", "status": "True", "reason": "Issued", "message": "", "lastTransitionTime": text(NOW)}
ANSWER = {"conditions": [ISSUED], "certificateChain": ANCHOR, "notBefore": text(NOW), "notAfter": text(NOW + datetime.timedelta(hours=24)),
          "beginRefreshAt": text(NOW + datetime.timedelta(hours=12))}


@pytest.mark.parametrize(("status", "old", "words"), [
    pytest.param(ANSWER, {}, "", id="an answer"),
    pytest.param({"conditions": [{**ISSUED, "type": "Denied"}]}, {}, "", id="a refusal"),
    pytest.param({**ANSWER, "conditions": [{**ISSUED, "type": "Denied"}]}, {}, "non-condition status fields must be empty when denying",
                 id="a refusal with a certificate"),
    pytest.param({**ANSWER, "beginRefreshAt": text(NOW)}, {}, "must be at least 10 minutes after status.notBefore", id="refresh too soon"),
    pytest.param({**ANSWER, "notAfter": text(NOW)}, {}, "must be set to the NotAfter time encoded in the leaf certificate",
                 id="another end"),
    pytest.param({**ANSWER, "certificateChain": certificate(ed25519.Ed25519PrivateKey.generate())}, {},
                 "leaf certificate was not issued to the requested public key", id="of another key"),
    pytest.param({**ANSWER, "certificateChain": "x"}, {}, "must contain at least one certificate", id="no certificate"),
    pytest.param({**ANSWER, "notBefore": None}, {}, "status.notBefore: Required value", id="without its times"),
    pytest.param({"certificateChain": ANCHOR}, {}, "status is immutable unless transitioning to", id="without a condition"),
    pytest.param({**ANSWER, "certificateChain": ANCHOR + "\n"}, ANSWER, "immutable after PodCertificateRequest is issued",
                 id="changed afterwards"),
    pytest.param({"conditions": [ISSUED, {**ISSUED, "type": "Failed"}]}, {}, "There may be at most one condition", id="two ends"),
])
def test_a_request_is_answered_once(status: dict[str, Any], old: dict[str, Any], words: str) -> None:
    kind = KIND_OF["PodCertificateRequest"]
    new, before = made("PodCertificateRequest", {"status": status}), made("PodCertificateRequest", {"status": old})
    kind.strategy.prepare_status(context(kind), new, before)
    found = [str(error) for error in kind.strategy.validate_status(context(kind), new, before)]
    assert any(words in error for error in found) if words else not found, found


def condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": text(NOW)}


@pytest.mark.parametrize(("kind", "status", "old", "words"), [
    ("StorageVersionMigration", {"resourceVersion": "x"}, {}, 'failed to parse resource version "x"'),
    ("StorageVersionMigration", {"resourceVersion": "2"}, {"resourceVersion": "1"}, 'Invalid value: "2": cannot be updated'),
    ("StorageVersionMigration", {"conditions": [condition("Succeeded"), condition("Running")]}, {},
     "Running condition cannot be true when success condition is true"),
    ("StorageVersionMigration", {"conditions": []}, {"conditions": [condition("Failed")]}, "Failed condition cannot be set to false once"),
    ("ResourcePoolStatusRequest", {"poolCount": 1}, {"poolCount": 2}, "status: Invalid value"),
    ("ResourcePoolStatusRequest", {"pools": []}, {}, "status.poolCount: Required value"),
    ("DeviceTaintRule", {"conditions": [condition(f"C{number}") for number in range(9)]}, {}, "must have at most 8 items"),
])
def test_what_a_status_may_not_say(kind: str, status: dict[str, Any], old: dict[str, Any], words: str) -> None:
    new, before = made(kind, {"status": status}), made(kind, {"status": old} if old else {})
    found = [str(error) for error in KIND_OF[kind].strategy.validate_status(context(KIND_OF[kind]), new, before)]
    assert any(words in error for error in found), found


def test_the_time_of_a_taint_is_that_of_its_effect() -> None:
    kind = KIND_OF["DeviceTaintRule"]
    old = made("DeviceTaintRule", {"spec.taint": {"key": "k", "effect": "NoSchedule", "timeAdded": "2020-01-01T00:00:00Z"}})
    other = made("DeviceTaintRule", {"spec.taint": {**old["spec"]["taint"], "key": "l"}})
    kind.strategy.prepare_update(context(kind), other, old)
    assert other["spec"]["taint"]["timeAdded"] == "2020-01-01T00:00:00Z"
    worse = made("DeviceTaintRule", {"spec.taint": {**old["spec"]["taint"], "effect": "NoExecute"}})
    kind.strategy.prepare_update(context(kind), worse, old)
    assert worse["spec"]["taint"]["timeAdded"] > "2020-01-01T00:00:00Z"


BUNDLE = {"clusterTrustBundle": {"signerName": "a.io/b", "path": "ca.crt"}}
KEYS = {"podCertificate": {"signerName": "a.io/b", "keyType": "ED25519", "credentialBundlePath": "bundle.pem"}}


@pytest.mark.parametrize(("sources", "words"), [
    pytest.param([BUNDLE, KEYS], "", id="both"),
    pytest.param([{"clusterTrustBundle": {"path": "x"}}], "either name or signerName must be specified", id="of nobody"),
    pytest.param([{"clusterTrustBundle": {"name": "a", "signerName": "a.io/b", "path": "x"}}], "only one of name and signerName may be",
                 id="a name and a signer"),
    pytest.param([BUNDLE, {"podCertificate": {**KEYS["podCertificate"], "credentialBundlePath": "ca.crt"}}], "conflicting duplicate paths",
                 id="one file for two"),
    pytest.param([{"podCertificate": {"signerName": "a.io/b", "keyType": "DSA"}}], 'Unsupported value: "DSA"', id="a key nobody has"),
    pytest.param([{"podCertificate": {"signerName": "a.io/b", "keyType": "ED25519"}}], "specify at least one of credentialBundlePath",
                 id="nowhere to go"),
])
def test_volumes_with_authorities_and_certificates(sources: list[dict[str, Any]], words: str) -> None:
    found = [str(error) for error in volumes([{"name": "v", "projected": {"sources": sources}}], Path("spec.volumes"), None)[1]]
    assert any(words in error for error in found) if words else not found, found


def test_such_volumes_are_kept_where_their_features_are_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for features, kept in ((DEFAULT, [{}, {}]), (ON, [BUNDLE, {"podCertificate": {
            **KEYS["podCertificate"], "maxExpirationSeconds": 86400}}])):
        monkeypatch.setattr(gated, "features", features)
        volume = {"name": "v", "projected": {"sources": copy.deepcopy([BUNDLE, KEYS])}}
        default_volume(volume)
        assert volume["projected"]["sources"] == kept
