"""find and findAll (`library/regex.go`).

Known difference: named formats (`format.dns1123Label().validate(…)`) are missing: functions cannot answer optional values.
"""
from __future__ import annotations

from typing import Any

from kubepy.api.structural.pattern import compile_pattern


def find(text: str, pattern: str) -> str:
    match = compile_pattern(pattern).search(text)
    return str(match.group(0)) if match is not None else ""


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [str(match.group(0)) for match in compile_pattern(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


FUNCTIONS: list[tuple[Any, ...]] = [
    ("find", True, ("string", "string"), "string", find),
    ("findAll", True, ("string", "string"), "list(string)", find_all),
    ("findAll", True, ("string", "string", "int"), "list(string)", find_all),
]
