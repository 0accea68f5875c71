"""SelfSubjectRulesReview: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    Resource("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
    "selfsubjectrulesreview",
    Strategy(),
    verbs=("create",),
)
