"""Named formats: `format.dns1123Label().validate(text)` gives the complaints, none where there are none (`library/format.go`)."""
from __future__ import annotations

from collections.abc import Callable

from kubepy.api import name as names
from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.value import NONE, Opaque, Optional
from kubepy.api.structural.format import FORMATS

Check = Callable[[str], list[str]]


class Format(Opaque):
    """`value` is the format's name."""

    kind = "kubernetes.NamedFormat"
    __slots__ = ()
    regex_size = 253


def _formatted(format_: str, complaint: str) -> Check:
    return lambda text: [] if FORMATS[format_](text) else [complaint.format(text)]


def _prefix(check: Check) -> Check:
    """A name that may end with a dash, as something is put behind it."""
    return lambda text: check(f"{text[:-1]}a" if text.endswith("-") and len(text) > 1 else text)


_FORMATS: dict[str, Check] = {
    "dns1123Label": names.label, "dns1123Subdomain": names.subdomain, "dns1035Label": names.label_1035, "qualifiedName": names.qualified,
    "dns1123LabelPrefix": _prefix(names.label), "dns1123SubdomainPrefix": _prefix(names.subdomain),
    "dns1035LabelPrefix": _prefix(names.label_1035), "labelValue": names.label_value,
    "uri": _formatted("uri", 'parse "{}": invalid URI for request'), "uuid": _formatted("uuid", "does not match the UUID format"),
    "byte": _formatted("byte", "invalid base64"), "date": _formatted("date", "invalid date"),
    "datetime": _formatted("date-time", "invalid datetime"),
}


def _validate(format_: Format, text: str) -> Optional:
    found = _FORMATS[format_.value](text)
    return Optional(found) if found else NONE


def declare(to: Declarations) -> None:
    kind = Format.kind
    for name in _FORMATS:
        to.add(f"format.{name}() {kind}", lambda name=name: Format(name))
    to.add(f"format.named(string) optional({kind})", lambda name: Optional(Format(name)) if name in _FORMATS else NONE)
    to.add(f"{kind}::validate(string) optional(list(string))", _validate)
