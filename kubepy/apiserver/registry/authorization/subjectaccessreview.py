"""SubjectAccessReview: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import SUBJECT_ACCESS_REVIEWS
from kubepy.apiserver.authz.review import subject_access_review
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    SUBJECT_ACCESS_REVIEWS,
    "subjectaccessreview",
    Strategy(),
    verbs=("create",),
    handler=subject_access_review,
)
