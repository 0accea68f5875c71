"""Field selectors: parsing with Kubernetes' messages, and matching (`k8s.io/apimachinery/pkg/fields`)."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


class SelectorError(ValueError):
    """A selector that cannot be read; the message is Kubernetes'."""


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One field requirement; `operator` is `=` or `!=`."""

    field: str
    operator: str
    value: str

    def matches(self, fields: Mapping[str, str]) -> bool:
        return (fields.get(self.field, "") == self.value) is (self.operator == "=")

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{_escape(self.value)}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Compiled field requirements; an absent field counts as empty."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all(item.matches(fields) for item in self.requirements)

    @property
    def empty(self) -> bool:
        return not self.requirements

    def exact(self, field: str) -> str | None:
        """The value the selector fixes for a field (upstream's RequiresExactMatch), or None."""
        return next((item.value for item in self.requirements if item.field == field and item.operator == "="), None)

    def __str__(self) -> str:
        return ",".join(str(item) for item in self.requirements)


def parse_fields(text: str, check: Callable[[str], str | None] | None = None) -> FieldSelector:
    """`fields.ParseSelector`. Raises SelectorError; `check(field)` may give the message that refuses a field."""
    requirements: list[FieldRequirement] = []
    for part in _split_terms(text):
        if not part:
            continue
        field, operator, raw = _split_term(part)
        if not operator:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        requirements.append(FieldRequirement(field, "=" if operator == "==" else operator, _unescape(raw)))
    requirements.sort(key=lambda item: (item.field, item.operator, item.value))
    # `=` alone asks for the empty field to be empty: it selects everything
    chosen = tuple(item for item in requirements if item.field or item.value)
    if check is not None:
        for item in chosen:
            if (message := check(item.field)) is not None:
                raise SelectorError(message)
    return FieldSelector(chosen)


def _split_terms(text: str) -> list[str]:
    terms: list[str] = []
    start, at, escaped = 0, 0, False
    for at, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            terms.append(text[start:at])
            start = at + 1
    if text:
        terms.append(text[start:])
    return terms


def _split_term(term: str) -> tuple[str, str, str]:
    for at in range(len(term)):
        for operator in ("!=", "==", "="):
            if term.startswith(operator, at):
                return term[:at], operator, term[at + len(operator):]
    return term, "", ""


def _unescape(text: str) -> str:
    if "\\" not in text and "=" not in text and "," not in text:
        return text
    out: list[str] = []
    escaped = False
    for char in text:
        if escaped:
            if char not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{char}")
            out.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(char)}")
        else:
            out.append(char)
    if escaped:
        raise SelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(out)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
