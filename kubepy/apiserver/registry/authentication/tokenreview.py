"""TokenReview: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import TOKEN_REVIEWS
from kubepy.apiserver.authn.review import token_review
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    TOKEN_REVIEWS,
    "tokenreview",
    Strategy(),
    verbs=("create",),
    handler=token_review,
)
