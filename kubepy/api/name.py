"""Names and the sentences Kubernetes rejects them with (`k8s.io/apimachinery/pkg/util/validation`, `pkg/api/validate/content`).

Each validator takes a text and returns the list of messages, empty when it is fine, so that callers can wrap them in
`field.invalid`. Upstream has two generations of these checks that differ in words only: limits of whole names are told in
"characters", limits of labels and of parts of qualified names in "bytes".
"""
from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Callable

Validator = Callable[[str], list[str]]

_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_LABEL_1123 = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL_1123}(\.{_LABEL_1123})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_C_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
_ENV_VAR = r"[-._a-zA-Z][-._a-zA-Z0-9]*"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_HTTP_HEADER = r"[-A-Za-z0-9]+"
_PORT_NAME = re.compile(r"[-a-z0-9]+")
_LOWER = re.compile(r"[a-z]")

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_MAX_GENERATED_PREFIX = 58


def regex_error(message: str, regex: str, *examples: str) -> str:
    """Upstream's RegexError."""
    if not examples:
        return f"{message} (regex used for validation is '{regex}')"
    shown = "' or '".join(examples) if len(examples) < 2 else "',  or '".join(examples)
    return f"{message} (e.g. '{shown}', regex used for validation is '{regex}')"


def max_length_error(maximum: int) -> str:
    return f"must be no more than {maximum} characters"


def range_error(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


_SUBDOMAIN_MESSAGE = regex_error("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
                                 "and must start and end with an alphanumeric character", _SUBDOMAIN, "example.com")
_LABEL_MESSAGE = regex_error("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
                             "and end with an alphanumeric character", _LABEL_1123, "my-name", "123-abc")
_LABEL_1035_MESSAGE = regex_error("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                                  "character, and end with an alphanumeric character", _LABEL_1035, "my-name", "abc-123")
_NAME_PART_RULE = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
_NAME_PART_MESSAGE = "name part " + regex_error(_NAME_PART_RULE, _QUALIFIED, "MyName", "my.name", "123-abc")
_KEY_MESSAGE = (regex_error(f"a valid label key {_NAME_PART_RULE}", _QUALIFIED, "MyName", "my.name", "123-abc")
                + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")
_LABEL_VALUE_MESSAGE = regex_error("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                                   "must start and end with an alphanumeric character", _LABEL_VALUE, "MyValue", "my_value", "12345")
_WILDCARD_MESSAGE = regex_error("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
                                "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
                                _WILDCARD, "*.example.com")
_C_IDENTIFIER_MESSAGE = regex_error("a valid C identifier must start with alphabetic character or '_', followed by a string of "
                                    "alphanumeric characters or '_'", _C_IDENTIFIER, "my_name", "MY_NAME", "MyName")
_CONFIG_KEY_MESSAGE = regex_error("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", _CONFIG_KEY,
                                  "key.name", "KEY_NAME", "key-name")
_HTTP_HEADER_MESSAGE = regex_error("a valid HTTP header must consist of alphanumeric characters or '-'", _HTTP_HEADER, "X-Header-Name")

_match_subdomain = re.compile(_SUBDOMAIN).fullmatch
_match_label = re.compile(_LABEL_1123).fullmatch
_match_label_1035 = re.compile(_LABEL_1035).fullmatch
_match_qualified = re.compile(_QUALIFIED).fullmatch
_match_label_value = re.compile(_LABEL_VALUE).fullmatch
_match_wildcard = re.compile(_WILDCARD).fullmatch
_match_c_identifier = re.compile(_C_IDENTIFIER).fullmatch
_match_config_key = re.compile(_CONFIG_KEY).fullmatch
_match_http_header = re.compile(_HTTP_HEADER).fullmatch


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def subdomain(text: str) -> list[str]:
    """IsDNS1123Subdomain."""
    errors = [max_length_error(253)] if _bytes(text) > 253 else []
    if not _match_subdomain(text):
        errors.append(_SUBDOMAIN_MESSAGE)
    return errors


def label(text: str) -> list[str]:
    """IsDNS1123Label: a text that would be a subdomain is told what is wrong with it as a label."""
    errors = [max_length_error(63)] if _bytes(text) > 63 else []
    if not _match_label(text):
        errors.append("must not contain dots" if _match_subdomain(text) else _LABEL_MESSAGE)
    return errors


def label_1035(text: str) -> list[str]:
    """IsDNS1035Label."""
    errors = [max_length_error(63)] if _bytes(text) > 63 else []
    if not _match_label_1035(text):
        errors.append(_LABEL_1035_MESSAGE)
    return errors


def full_domain(text: str) -> list[tuple[str, str]]:
    """IsFullyQualifiedDomainName of a text that is there: what is wrong, each with the part of the text that it is about."""
    text = text.removesuffix(".")
    if problems := subdomain(text):
        return [(text, ",".join(problems))]
    parts = text.split(".")
    if len(parts) < 2:
        return [(text, "should be a domain with at least two segments separated by dots")]
    return [(part, ",".join(label(part))) for part in parts if label(part)][:1]


def wildcard_subdomain(text: str) -> list[str]:
    """IsWildcardDNS1123Subdomain."""
    errors = [max_length_error(253)] if _bytes(text) > 253 else []
    if not _match_wildcard(text):
        errors.append(_WILDCARD_MESSAGE)
    return errors


def qualified(text: str) -> list[str]:
    """IsQualifiedName, and IsLabelKey: an optional DNS prefix, a slash and a name. The same few come again and again."""
    if text in _qualified:
        return []
    errors = _qualified_problems(text)
    if not errors:
        if len(_qualified) >= 10_000:
            _qualified.clear()
        _qualified.add(text)
    return errors


_qualified: set[str] = set()


def _qualified_problems(text: str) -> list[str]:
    parts = text.split("/")
    errors: list[str] = []
    if len(parts) > 2:
        return [_KEY_MESSAGE]
    if len(parts) == 2:
        prefix = parts[0]
        if not prefix:
            errors.append("prefix part must be non-empty")
        else:
            if _bytes(prefix) > 253:
                errors.append("prefix part must be no more than 253 bytes")
            if not _match_subdomain(prefix):
                errors.append(f"prefix part {_SUBDOMAIN_MESSAGE}")
    name = parts[-1]
    if not name:
        errors.append("name part must be non-empty")
    elif _bytes(name) > 63:
        errors.append("name part must be no more than 63 bytes")
    if not _match_qualified(name):
        errors.append(_NAME_PART_MESSAGE)
    return errors


def label_value(text: str) -> list[str]:
    """IsValidLabelValue."""
    errors = ["must be no more than 63 bytes"] if _bytes(text) > 63 else []
    if not _match_label_value(text):
        errors.append(_LABEL_VALUE_MESSAGE)
    return errors


def path_segment(text: str) -> list[str]:
    """IsValidPathSegmentName."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in text]


def path_segment_prefix(text: str) -> list[str]:
    """IsValidPathSegmentPrefix: what a generateName may be where names are path segments."""
    return [f"may not contain '{part}'" for part in ("/", "%") if part in text]


def c_identifier(text: str) -> list[str]:
    """IsCIdentifier."""
    return [] if _match_c_identifier(text) else [_C_IDENTIFIER_MESSAGE]


def env_var(text: str) -> list[str]:
    """IsRelaxedEnvVarName: printable ASCII without `=`."""
    if not text:
        return ["environment variable name must be non-empty"]
    if any(not " " <= char <= "~" or char == "=" for char in text):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


def config_key(text: str) -> list[str]:
    """IsConfigMapKey: what ConfigMap and Secret keys may be."""
    errors = [max_length_error(253)] if _bytes(text) > 253 else []
    if not _match_config_key(text):
        errors.append(_CONFIG_KEY_MESSAGE)
    if text == ".":
        errors.append("must not be '.'")
    elif text == "..":
        errors.append("must not be '..'")
    elif text.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def http_header(text: str) -> list[str]:
    """IsHTTPHeaderName."""
    return [] if _match_http_header(text) else [_HTTP_HEADER_MESSAGE]


def port_name(text: str) -> list[str]:
    """IsValidPortName: an IANA service name."""
    errors = []
    if len(text) > 15:
        errors.append(max_length_error(15))
    if not _PORT_NAME.fullmatch(text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _LOWER.search(text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text and (text[0] == "-" or text[-1] == "-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def port_number(number: int) -> list[str]:
    """IsValidPortNum."""
    return [] if 1 <= number <= 65535 else [range_error(1, 65535)]


def sloppy_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as Go once took it, leading zeros and all (ParseIPSloppy); None for anything else, zones included."""
    if "%" in text:
        return None
    head, colon, tail = text.rpartition(":")
    if "." in tail:
        tail = ".".join(part.lstrip("0") or "0" if part.isascii() and part.isdigit() else part for part in tail.split("."))
    try:
        return ipaddress.ip_address(f"{head}{colon}{tail}")
    except ValueError:
        return None


def _is_mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


def ip(text: str) -> list[str]:
    """IsValidIPForLegacyField, of the strict kind."""
    address = sloppy_ip(text)
    if address is None:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return ["must not have leading 0s"]
    return ["must not be an IPv4-mapped IPv6 address"] if _is_mapped(address) else []


def sloppy_cidr(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    """A range as Go once took it (ParseCIDRSloppy), host bits and all."""
    head, slash, length = text.partition("/")
    address = sloppy_ip(head)
    if not slash or address is None or not (length.isascii() and length.isdigit()) or int(length) > address.max_prefixlen:
        return None
    return ipaddress.ip_interface(f"{address}/{int(length)}")


def cidr(text: str) -> list[str]:
    """IsValidCIDRForLegacyField, of the strict kind."""
    interface = sloppy_cidr(text)
    if interface is None:
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    head, _, length = text.partition("/")
    if ip(head) == ["must not have leading 0s"] or str(int(length)) != length:
        return ["must not have leading 0s in IP or prefix length"]
    if _is_mapped(interface.ip):
        return ["must not have an IPv4-mapped IPv6 address"]
    return [] if interface.ip == interface.network.network_address else ["must not have bits set beyond the prefix length"]


def interface_address(text: str) -> list[str]:
    """IsValidInterfaceAddress: an address with the length of its network's prefix, as Go would write it."""
    interface = sloppy_cidr(text)
    if interface is None:
        return ["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"]
    canonical = str(interface)
    if _is_mapped(interface.ip):
        mapped = ipaddress.IPv6Address(int(interface.ip)).ipv4_mapped
        canonical = f"{mapped}/{max(interface.network.prefixlen - 96, 0)}"
    return [] if text == canonical else [f'must be in canonical form ("{canonical}")']


_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"


def domain_prefixed_path(text: str) -> list[tuple[str, str]]:
    """IsDomainPrefixedPath: what is wrong, each with the part of the text that it is about."""
    host, _, path = text.partition("/")
    if not host or not path:
        return [(text, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    problems = [(host, message) for message in subdomain(host)]
    if not re.fullmatch(_HTTP_PATH, path):
        problems.append((path, regex_error("Invalid path", _HTTP_PATH)))
    return problems


BY_KIND: dict[str, Validator] = {"subdomain": subdomain, "label": label, "label_1035": label_1035, "path": path_segment,
                                 "qualified": qualified}
"""Validators by the names that `Strategy.name_kind` uses."""


def mask_trailing_dash(text: str) -> str:
    """A prefix that ends in a dash is judged as if a letter followed."""
    return f"{text[:-2]}a" if len(text) > 1 and text.endswith("-") else text


def generate(prefix: str, choose: Callable[[str], str] = random.choice) -> str:
    """The name made of a generateName: cut so that five random letters fit in 63 bytes."""
    return prefix[:_MAX_GENERATED_PREFIX] + suffix(choose)


def suffix(choose: Callable[[str], str] = random.choice, length: int = 5) -> str:
    """Random letters without vowels and look-alikes, as names of generated objects end (`util/rand.String`)."""
    return "".join(choose(_SUFFIX_LETTERS) for _ in range(length))


def safe_encode(text: str) -> str:
    """Hash texts written in the letters of generated names (`util/rand.SafeEncodeString`)."""
    return "".join(_SUFFIX_LETTERS[ord(char) % len(_SUFFIX_LETTERS)] for char in text)
