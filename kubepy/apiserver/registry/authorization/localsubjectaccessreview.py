"""LocalSubjectAccessReview: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.authz.review import local_subject_access_review
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    Resource("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", True),
    "localsubjectaccessreview",
    Strategy(),
    verbs=("create",),
    handler=local_subject_access_review,
)
