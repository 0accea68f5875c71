"""SelfSubjectReview: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.authn.review import self_subject_review
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False),
    "selfsubjectreview",
    Strategy(),
    verbs=("create",),
    handler=self_subject_review,
)
