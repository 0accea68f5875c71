"""Kubernetes' functions in CEL, and the words of its errors."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.cel import CompileError, Environment, EvaluationError


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment({"self": "dyn"})


@pytest.mark.parametrize(("source", "value", "result"), [
    ("quantity(self) == quantity('1k')", "1000", True),
    ("quantity(self).isGreaterThan(quantity('1'))", "1500m", True),
    ("quantity(self).add(quantity('500m')).asApproximateFloat()", "1", 1.5),
    ("ip(self).family()", "10.0.0.1", 4),
    ("cidr('10.0.0.0/8').containsIP(self)", "10.1.1.1", True),
    ("cidr('10.0.0.0/8').containsCIDR(cidr(self))", "11.0.0.0/16", False),
    ("url(self).getHost()", "https://a:80/x?y=1", "a:80"),
    ("semver(self).isGreaterThan(semver('1.0.0-rc.1'))", "1.0.0", True),
    ("[1, 3, 2].isSorted()", "", False),
    ("[1, 3, 2].max()", "", 3),
    ("self.find('[0-9]+')", "ab12", "12"),
    ("self.findAll('[0-9]')", "a1b2", ["1", "2"]),
    ("self.lowerAscii().split(',')", "A,B", ["a", "b"]),
    ("self.?missing.orValue('none')", {}, "none"),
])
def test_functions(environment: Environment, source: str, value: Any, result: Any) -> None:
    assert environment.compile(source).evaluate({"self": value}) == result


@pytest.mark.parametrize(("source", "value", "message"), [
    ("self.a == 1", {}, "no such key: a"),
    ("self[3] == 1", [1], "index out of bounds: 3"),
    ("int(self) == 1", "x", "type conversion error from 'string' to 'int'"),
    ("'x'.matches(self)", "(", "error parsing regexp: missing closing ): `(`"),
])
def test_failures_in_the_words_of_cel_go(environment: Environment, source: str, value: Any, message: str) -> None:
    with pytest.raises(EvaluationError) as found:
        environment.compile(source).evaluate({"self": value})
    assert str(found.value) == message


def test_syntax_errors_are_shown_where_they_are(environment: Environment) -> None:
    with pytest.raises(CompileError, match=r"ERROR: <input>:1:7: Syntax error"):
        environment.compile("self >")
