"""The order of API versions: v2, v1, v1beta2, v1alpha1, others by name.

Source: `k8s.io/apimachinery/pkg/version.CompareKubeAwareVersionStrings`.
"""
from __future__ import annotations

import re

_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")


def preference(version: str) -> tuple[int, int, int, int, str]:
    """A key that sorts versions from the most preferred to the least."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (1, 0, 0, 0, version)
    stability = {"alpha": 2, "beta": 1}.get(match[2] or "", 0)
    return (0, stability, -int(match[1]), -int(match[3] or 0), "")
