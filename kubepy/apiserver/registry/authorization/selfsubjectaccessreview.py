"""SelfSubjectAccessReview: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.authz.review import self_subject_access_review
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
    "selfsubjectaccessreview",
    Strategy(),
    verbs=("create",),
    handler=self_subject_access_review,
)
