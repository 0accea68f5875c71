"""Quantities: canonical texts, what is kept as sent, rounding, refusals."""
from __future__ import annotations

import pytest

from kubepy.api.quantity import Quantity, QuantityError, parse_quantity

FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX = "unable to parse quantity's suffix"


@pytest.mark.parametrize(("sent", "answered"), [
    ("1024Ki", "1Mi"), ("1024", "1024"), ("0.5Gi", "512Mi"), ("0.1Gi", "107374182400m"), ("1000Ki", "1000Ki"), ("0Ki", "0"),
    ("10.0Mi", "10Mi"),
    ("1.5Ki", "1536"), ("1Ki", "1Ki"), ("2048Ti", "2Pi"), ("0.5", "500m"), ("1000m", "1"), (".5", "500m"), ("1.", "1."), ("+1", "+1"),
    ("00012", "00012"), ("1.50", "1500m"), ("1000", "1k"), ("1000000", "1M"), ("1500k", "1500k"), ("1e-1", "100e-3"), ("1e8", "100e6"),
    ("1e9", "1e9"), ("1.5e3", "1500"), ("1e30", "1e30"), ("3.7e15", "3700e12"), ("8Ei", "9223372036854775807"), ("-0", "0"), ("1.0", "1"),
    ("99999999999999999999999999", "99999999999999999999999999"), ("123456789012345678m", "123456789012345678m"), ("1.123", "1.123"),
    ("1000E", "1e21"), ("0.1n", "1n"), ("-1500m", "-1500m"), ("", None),
])
def test_quantity_is_answered_in_canonical_form(sent: str, answered: str | None) -> None:
    if answered is None:
        with pytest.raises(QuantityError):
            parse_quantity(sent)
    else:
        assert str(parse_quantity(sent)) == answered


@pytest.mark.parametrize(("sent", "answered"), [
    ("1.0001", "1001m"), ("100n", "1m"), ("0.123456789", "124m"), ("0.0001Ki", "103m"), ("0.00000000001Gi", "11m"), ("1.", "1."),
    ("1000u", "1m"),
    ("1.23456789012345678901234567890", "1235m"),
])
def test_resource_lists_are_rounded_up_to_thousandths(sent: str, answered: str) -> None:
    assert str(parse_quantity(sent).rounded_to_milli()) == answered


@pytest.mark.parametrize(("sent", "message"), [
    ("1 Gi", FORMAT), ("1gi", FORMAT), ("1K", SUFFIX), ("1kb", FORMAT), ("one", FORMAT), ("--1", SUFFIX), ("1-1", SUFFIX), ("1e", SUFFIX),
    ("1e1.5", FORMAT), ("NaN", FORMAT), ("1Zi", FORMAT), ("½", FORMAT),
])
def test_malformed_quantity_is_refused_in_kubernetes_words(sent: str, message: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_quantity(sent)
    assert str(caught.value) == message


def test_arithmetic_keeps_the_format() -> None:
    assert str(parse_quantity("1Gi") + parse_quantity("512Mi")) == "1536Mi"
    assert str(Quantity(0) + parse_quantity("1Ki")) == "1Ki"
    assert str(parse_quantity("1") - parse_quantity("1500m")) == "-500m"
    assert parse_quantity("1") == parse_quantity("1000m")
    assert parse_quantity("1500m").value() == 2
    assert parse_quantity("-1500m").value() == -2
    assert parse_quantity("100u").milli_value() == 1
