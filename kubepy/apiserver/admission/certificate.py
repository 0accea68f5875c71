"""Plugins about certificate signing requests: who may approve and sign for a signer, and which subjects are never signed.

Source: `plugin/pkg/admission/certificates`."""
from __future__ import annotations

import base64

from cryptography import x509
from cryptography.x509.oid import NameOID

from kubepy.api import field
from kubepy.api.errors import Invalid
from kubepy.api.field import Path
from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS, POD_CERTIFICATE_REQUESTS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.authz.interface import Access, Authorizer
from kubepy.apiserver.request import Attributes, Operation, User

_API_CLIENT = "kubernetes.io/kube-apiserver-client"


async def may_use_signer(authorizer: Authorizer, user: User, verb: str, signer: str) -> bool:
    """Whether the user may `approve`, `sign` or `attest` for a signer, by its name or for its whole domain."""
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        if (await authorizer.authorize(Access(user, verb, "certificates.k8s.io", "*", "signers", name=name))).allowed:
            return True
    return False


class CertificateApproval(Plugin):
    name = "CertificateApproval"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, CERTIFICATE_SIGNING_REQUESTS) and subresource == "approval" and operation == "UPDATE"

    async def admit_valid(self, attributes: Attributes) -> None:
        signer = _signer(attributes.old)
        assert self.services.authorizer is not None
        if not await may_use_signer(self.services.authorizer, attributes.context.user, "approve", signer):
            raise refuse(attributes, f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning(Plugin):
    name = "CertificateSigning"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        if PodCertificateSigning.applies(resource, subresource, operation):
            return True
        return same(resource, CERTIFICATE_SIGNING_REQUESTS) and subresource == "status" and operation == "UPDATE"

    async def admit_valid(self, attributes: Attributes) -> None:
        if same(attributes.context.kind.resource, POD_CERTIFICATE_REQUESTS):
            assert self.services.authorizer is not None
            await PodCertificateSigning.admit(self.services.authorizer, attributes)
            return
        old, new = (attributes.old or {}).get("status") or {}, (attributes.obj or {}).get("status") or {}
        if old.get("certificate") == new.get("certificate") and (old.get("conditions") or []) == (new.get("conditions") or []):
            return
        signer = _signer(attributes.old)
        assert self.services.authorizer is not None
        if not await may_use_signer(self.services.authorizer, attributes.context.user, "sign", signer):
            raise refuse(attributes, f'user not permitted to sign requests with signerName "{signer}"')


class ClusterTrustBundleAttest(Plugin):
    """Who writes a trust bundle for a signer must have the right to attest for it."""

    name = "ClusterTrustBundleAttest"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return resource.group == "certificates.k8s.io" and resource.plural == "clustertrustbundles" and subresource == "" \
            and operation in ("CREATE", "UPDATE")

    async def admit_valid(self, attributes: Attributes) -> None:
        signer, before = _signer(attributes.obj), _signer(attributes.old)
        if not signer or (attributes.operation == "UPDATE" and (attributes.obj or {}).get("spec") == (attributes.old or {}).get("spec")):
            return
        assert self.services.authorizer is not None
        for name in dict.fromkeys(filter(None, (signer, before))):
            if not await may_use_signer(self.services.authorizer, attributes.context.user, "attest", name):
                raise refuse(attributes, f'user not permitted to attest for signerName "{name}"')


class PodCertificateSigning:
    """Who writes a pod's certificate must have the right to sign for the signer (upstream asks in the kind's own strategy)."""

    @staticmethod
    def applies(resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, POD_CERTIFICATE_REQUESTS) and subresource == "status" and operation == "UPDATE"

    @staticmethod
    async def admit(authorizer: Authorizer, attributes: Attributes) -> None:
        old, new = ((obj or {}).get("status") or {} for obj in (attributes.old, attributes.obj))
        if old.get("certificateChain", "") == new.get("certificateChain", ""):
            return
        user, signer = attributes.context.user, _signer(attributes.old)
        if not await may_use_signer(authorizer, user, "sign", signer):
            problem = field.forbidden(Path("spec.signerName"), f'User "{user.name}" is not permitted to "sign" for signer "{signer}"')
            resource = attributes.context.kind.resource
            raise Invalid.of(resource.group, resource.kind, attributes.name, [problem])


class CertificateSubjectRestriction(Plugin):
    name = "CertificateSubjectRestriction"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, CERTIFICATE_SIGNING_REQUESTS) and subresource == "" and operation == "CREATE"

    async def admit_valid(self, attributes: Attributes) -> None:
        spec = (attributes.obj or {}).get("spec") or {}
        if spec.get("signerName") == _API_CLIENT and "system:masters" in _organizations(spec.get("request") or ""):
            raise refuse(attributes, f"use of {_API_CLIENT} signer with system:masters group is not allowed")


def _signer(obj: Object | None) -> str:
    return str(((obj or {}).get("spec") or {}).get("signerName", ""))


def _organizations(request: str) -> list[str]:
    """The groups a request asks for; one that cannot be read is validation's business."""
    try:
        parsed = x509.load_pem_x509_csr(base64.b64decode(request))
    except ValueError:
        return []
    return [str(attribute.value) for attribute in parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
