"""Values as Go's `%v` prints them: `map[a:1 b:[x y]]`. Some error messages of Kubernetes are made so."""
from __future__ import annotations

from decimal import Decimal
from typing import Any


def go_value(value: Any) -> str:
    """`fmt.Sprintf("%v", value)` of decoded JSON; map keys are sorted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_value(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(go_value(item) for item in value) + "]"
    if isinstance(value, float):
        return go_float(value)
    return str(value)


def go_float(value: float) -> str:
    """The shortest form of a finite float64, with an exponent below 1e-4 and from 1e6 on (`%v`)."""
    sign, digits, power = Decimal(repr(value)).normalize().as_tuple()
    exponent = len(digits) + int(power) - 1
    if value and (exponent < -4 or exponent >= 6):
        text = "".join(map(str, digits))
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{'-' if sign else ''}{text[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return repr(value).removesuffix(".0")
