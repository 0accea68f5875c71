"""Regular expressions as Go reads them: RE2, whose time is linear in the text whatever the expression."""
from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


class BadPattern(ValueError):
    """An expression that RE2 does not accept; the message is Go's as far as it is known."""


@lru_cache(maxsize=4096)
def compile_pattern(text: str) -> Any:
    """The compiled expression, to be used with `search`. Raises BadPattern."""
    try:
        return re2.compile(text, _OPTIONS)
    except re2.error as error:
        why = error.args[0] if error.args else ""
        raise BadPattern(f"error parsing regexp: {why.decode() if isinstance(why, bytes) else why}") from error
