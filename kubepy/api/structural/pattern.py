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
        raise BadPattern(go_words(why.decode() if isinstance(why, bytes) else str(why), text)) from error


_GO = {"missing ]": "missing closing ]", "missing )": "missing closing )", "invalid perl operator": "invalid or unsupported Perl syntax",
       "no argument for repetition operator": "missing argument to repetition operator",
       "bad repetition operator": "invalid nested repetition operator", "trailing \\": "trailing backslash at end of expression",
       "invalid repetition size": "invalid repeat count"}


def go_words(why: str, text: str) -> str:
    """RE2's complaint as Go words it, with the part complained of in backquotes."""
    head, mark, part = why.partition(": ")
    shown = text if head == "missing )" else part if mark else ""
    return f"error parsing regexp: {_GO.get(head, head)}: `{shown}`"
