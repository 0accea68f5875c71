"""What features that are off by default add to the bootstrap roles, in the notation of `bootstrap`; by the feature's name."""
from __future__ import annotations

CONTROLLERS = {
    "ClusterTrustBundle": {
        "kube-apiserver-serving-clustertrustbundle-publisher": """
            attest | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-serving
            create delete get list update watch | certificates.k8s.io | clustertrustbundles
            EVENTS
            """,
    },
    "PodCertificateRequest": {
        "podcertificaterequestcleaner": "delete get list watch | certificates.k8s.io | podcertificaterequests",
    },
    "DRAResourcePoolStatus": {
        "resourcepoolstatusrequest-controller": """
            delete get list watch | resource.k8s.io | resourcepoolstatusrequests
            patch update | resource.k8s.io | resourcepoolstatusrequests/status
            READ | resource.k8s.io | resourceclaims resourceslices
            EVENTS
            """,
    },
    "StorageVersionAPI": {
        "storage-version-garbage-collector": """
            get list watch | coordination.k8s.io | leases
            delete get list | internal.apiserver.k8s.io | storageversions
            get patch update | internal.apiserver.k8s.io | storageversions/status
            """,
    },
    "StorageVersionMigrator": {
        "storage-version-migrator-controller": """
            create list patch | * | *
            update | storagemigration.k8s.io | storageversionmigrations/status
            get | apiextensions.k8s.io | customresourcedefinitions
            update | apiextensions.k8s.io | customresourcedefinitions/status
            """,
    },
}

ADDED = {
    "DRADeviceTaintRules": {
        "system:controller:device-taint-eviction-controller": """
            READ | resource.k8s.io | devicetaintrules
            get patch update | resource.k8s.io | devicetaintrules/status
            """,
        "system:controller:resourcepoolstatusrequest-controller": "READ | resource.k8s.io | devicetaintrules",
        "system:kube-scheduler": "READ | resource.k8s.io | devicetaintrules",
    },
    "ClusterTrustBundleProjection": {"system:node": "READ | certificates.k8s.io | clustertrustbundles"},
    "PodCertificateRequest": {"system:node": "create get list watch | certificates.k8s.io | podcertificaterequests"},
}
"""Rules that join those of a role."""

ROLES = {"ClusterTrustBundle": {"system:cluster-trust-bundle-discovery": "READ | certificates.k8s.io | clustertrustbundles"}}
BINDINGS = {"ClusterTrustBundle": {"system:cluster-trust-bundle-discovery": "Group system:serviceaccounts"}}
