"""String formats that schemas may demand (`k8s.io/kube-openapi/pkg/validation/strfmt`)."""
from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import urlsplit

_NAME = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]{0,61}[a-zA-Z0-9])"
_HOSTNAME = re.compile(rf"{_NAME}(?:\.{_NAME})*\.?")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_UUID3 = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_UUID4 = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_UUID5 = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_HEX_COLOR = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_RGB_COLOR = re.compile(rf"rgb\(\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*\)")
_SSN = re.compile(r"\d{3}[- ]?\d{2}[- ]?\d{4}")
_CARD = re.compile(r"(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9]{2})[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
                   r"|(?:2131|1800|35\d{3})\d{11})")
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}(?:(?:[:-][0-9a-fA-F]{2}){2})?|[0-9a-fA-F]{4}(?:\.[0-9a-fA-F]{4}){2,3})")
_DURATION = re.compile(r"([+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+|0")
_DURATION_WORDS = re.compile(r"\d+\s*(?:ns|nanos?|us|µs|micros?|ms|millis?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?"
                             r"|w|weeks?)")
_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt](?:\d{2}:\d{2}:\d{2}|24:00:00)(\.\d+)?([Zz]|[+-]\d{2}:\d{2})?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_EMAIL = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\\]+")


def _date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def _date_time(text: str) -> bool:
    if _DATE_TIME.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text[:19].upper().replace("T24:", "T00:"))
    except ValueError:
        return False
    return True


def _address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _cidr(text: str) -> bool:
    if "/" not in text:
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return text.rpartition("/")[2].isdigit()


def _hostname(text: str) -> bool:
    return len(text) <= 255 and _HOSTNAME.fullmatch(text) is not None


def _uri(text: str) -> bool:
    """url.ParseRequestURI: an absolute URI or an absolute path."""
    if not text or any(char <= " " or char == "\x7f" for char in text):
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    if text.startswith("/"):
        return True
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", text) is not None


def _bytes(text: str) -> bool:
    try:
        base64.b64decode(text.replace("-", "+").replace("_", "/") if "-" in text or "_" in text else text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _isbn(text: str, length: int) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    if length == 10:
        if re.fullmatch(r"\d{9}[\dX]", digits) is None:
            return False
        return sum((position + 1) * (10 if char == "X" else int(char)) for position, char in enumerate(digits)) % 11 == 0
    return re.fullmatch(r"\d{13}", digits) is not None and sum(int(char) * (3 if at % 2 else 1) for at, char in enumerate(digits)) % 10 == 0


def _card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    if _CARD.fullmatch(digits) is None:
        return False
    total = 0
    for position, char in enumerate(reversed(digits)):
        value = int(char) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(_OBJECT_ID), "uri": _uri, "email": _matches(_EMAIL), "hostname": _hostname,
    "ipv4": lambda text: _address(text, 4), "ipv6": lambda text: _address(text, 6), "cidr": _cidr, "mac": _matches(_MAC),
    "uuid": _matches(_UUID), "uuid3": _matches(_UUID3), "uuid4": _matches(_UUID4), "uuid5": _matches(_UUID5),
    "isbn": lambda text: _isbn(text, 10) or _isbn(text, 13), "isbn10": lambda text: _isbn(text, 10),
    "isbn13": lambda text: _isbn(text, 13), "creditcard": _card, "ssn": _matches(_SSN), "hexcolor": _matches(_HEX_COLOR),
    "rgbcolor": _matches(_RGB_COLOR), "byte": _bytes, "password": lambda text: True, "date": _date,
    "duration": lambda text: _DURATION.fullmatch(text) is not None or _DURATION_WORDS.fullmatch(text) is not None,
    "date-time": _date_time, "datetime": _date_time,
    "k8s-short-name": _matches(_LABEL),
    "k8s-long-name": lambda text: len(text) <= 253 and all(_LABEL.fullmatch(part) for part in text.split(".")),
}
