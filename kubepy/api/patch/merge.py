"""JSON merge patch (RFC 7386)."""
from __future__ import annotations

from typing import Any


def apply_merge_patch(document: Any, patch: Any) -> Any:
    """The document after the patch. Parts that did not change are shared with the document."""
    if type(patch) is not dict:
        return patch
    result = dict(document) if type(document) is dict else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value) if type(value) is dict else value
    return result
