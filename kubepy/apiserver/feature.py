"""The feature gates of which this server has both states (`kubepy.base.gate` has them all, with v1.36's defaults)."""
from __future__ import annotations

SWITCHABLE: frozenset[str] = frozenset((
    "ClusterTrustBundle", "ClusterTrustBundleProjection", "DRADeviceTaintRules", "DRAResourcePoolStatus", "PodCertificateRequest",
    "StorageVersionAPI", "StorageVersionMigrator",
))
