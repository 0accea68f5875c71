"""SelfSubjectRulesReview: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.authz.review import self_subject_rules_review
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    Resource("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
    "selfsubjectrulesreview",
    Strategy(),
    verbs=("create",),
    handler=self_subject_rules_review,
)
