"""The built-in kinds that are off by default: of alpha and beta versions, some of them with a feature gate."""
from __future__ import annotations

from typing import NamedTuple

from kubepy.apiserver.registry.apiserverinternal import storageversion
from kubepy.apiserver.registry.certificates import clustertrustbundle, podcertificaterequest
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.resource import devicetaintrule, resourcepoolstatusrequest
from kubepy.apiserver.registry.storagemigration import storageversionmigration


class OptionalKind(NamedTuple):
    kind: Kind
    gate: str = ""
    """The feature without which it is not served, whatever `--runtime-config` says."""


OPTIONAL: tuple[OptionalKind, ...] = (
    OptionalKind(clustertrustbundle.KIND, "ClusterTrustBundle"),
    OptionalKind(podcertificaterequest.KIND, "PodCertificateRequest"),
    OptionalKind(clustertrustbundle.ALPHA, "ClusterTrustBundle"),
    OptionalKind(devicetaintrule.KIND, "DRADeviceTaintRules"),
    OptionalKind(devicetaintrule.ALPHA, "DRADeviceTaintRules"),
    OptionalKind(resourcepoolstatusrequest.KIND, "DRAResourcePoolStatus"),
    OptionalKind(storageversion.KIND),
    OptionalKind(storageversionmigration.KIND),
)
