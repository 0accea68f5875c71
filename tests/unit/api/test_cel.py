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
    ("[1, 2, 3].indexOf(3)", "", 2),
    ("['a', 'b', 'a'].lastIndexOf('a')", "", 2),
    ("[duration('1m'), duration('2m')].sum() == duration('3m')", "", True),
    ("[4, 5].all(i, v, v == i + 4)", "", True),
    ("{'a': 1}.exists(k, v, k == 'a' && v == 1)", "", True),
    ("[1, 2, 2].existsOne(i, v, v == 2)", "", False),
    ("[1, 2, 3].transformList(i, v, i > 0, v * 2)", "", [4, 6]),
    ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v + 1)", "", {"b": 3}),
    ("{'a': 1}.transformMapEntry(k, v, {string(v): k})", "", {"1": "a"}),
    ("format.dns1123Label().validate(self).hasValue()", "Not_one", True),
    ("format.named('uuid').value().validate(self) == optional.none()", "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a", True),
    ("self.sortBy(e, e.n).map(e, e.s)", [{"n": 2, "s": "b"}, {"n": 1, "s": "a"}], ["a", "b"]),
    ("string(123456789.0) + ' ' + string(100000.0) + ' ' + string(0.00001)", "", "1.23456789e+08 100000 1e-05"),
    ("sets.equivalent([1, 2], [2, 1, 1])", "", True),
    ("optional.of(self).optMap(x, x + 1).orValue(0)", 2, 3),
    ("cel.bind(x, self + 1, x * x)", 2, 9),
    ("self < 1.5 && self == 1.0", 1, True),
    ("dyn(self) == true", 1, False),
    ("timestamp('2024-02-29T10:00:00+02:00').getHours()", "", 8),
    ("timestamp(self) + duration('36h') == timestamp('2024-03-01T12:00:00Z')", "2024-02-29T00:00:00Z", True),
    ("string(duration('90m'))", "", "5400s"),
    ("'%d of %s'.format([dyn(self), 'x'])", 3, "3 of x"),
    ("type(self) == string && type(1) == int", "", True),
    ("self.missing == 1 || true", {}, True),
    ("[1, 0].exists(x, 1 / x == 1)", "", True),
    ("self.filter(x, x > 1).map(x, x * 2)", [1, 2, 3], [4, 6]),
    ("'a/b~c' == self && self.substring(1, 3) == '/b'", "a/b~c", True),
])
def test_functions(environment: Environment, source: str, value: Any, result: Any) -> None:
    assert environment.compile(source).evaluate({"self": value}) == result


@pytest.mark.parametrize(("source", "value", "message"), [
    ("self.a == 1", {}, "no such key: a"),
    ("self[3] == 1", [1], "index out of bounds: 3"),
    ("int(self) == 1", "x", "type conversion error from 'string' to 'int'"),
    ("'x'.matches(self)", "(", "error parsing regexp: missing closing ): `(`"),
    ("self + 1 == 2", {"a": 1}, "no such overload: _+_"),
    ("self + 1 == 2", "x", "no such overload"),
    ("self ? 1 : 2", "x", "no such overload"),
    ("size(self) == 1", 3, "no such overload: size"),
    ("self.all(x, x)", 3, "got 'types.Int', expected iterable type"),
    ("self.a", "text", "no such key: a"),
    ("self / 0", 1, "division by zero"),
    ("self * 9223372036854775807", 2, "integer overflow"),
    ("self.contains('x')", 1, "no such overload: contains(int, string)"),
    ("[1].all(x, self.all(y, self.all(z, self.all(w, w == x || true))))", [1] * 60, "operation cancelled: actual cost limit exceeded"),
])
def test_failures_in_the_words_of_cel_go(environment: Environment, source: str, value: Any, message: str) -> None:
    with pytest.raises(EvaluationError) as found:
        environment.compile(source).evaluate({"self": value})
    assert str(found.value) == message


def test_syntax_errors_are_shown_where_they_are(environment: Environment) -> None:
    with pytest.raises(CompileError, match=r"ERROR: <input>:1:7: Syntax error"):
        environment.compile("self >")


@pytest.mark.parametrize(("source", "message"), [
    ("n == 'x'", "found no matching overload for '_==_' applied to '(int, string)'"),
    ("s.substring('x')", "found no matching overload for 'substring' applied to 'string.(string)'"),
    ("n.x", "type 'int' does not support field selection"),
    ("[1, 'a']", "expected type 'int' but found 'string'"),
    ("n.all(x, true)", "expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)"),
    ("n ? 1 : 2", "found no matching overload for '_?_:_' applied to '(int, int, int)'"),
    ("other", "undeclared reference to 'other' (in container '')"),
    ("s.matches('(')", "invalid matches argument"),
    ("duration('soon')", "invalid duration argument"),
    ("[1].all(i, i, true)", "duplicate variable name: i"),
    ("has(n)", "has() argument must be a field selection"),
])
def test_what_does_not_check_is_refused_in_the_words_of_cel_go(source: str, message: str) -> None:
    with pytest.raises(CompileError) as found:
        Environment({"n": "int", "s": "string"}).compile(source)
    assert message in str(found.value)


def test_all_complaints_come_in_the_order_of_their_places() -> None:
    with pytest.raises(CompileError) as found:
        Environment({}).compile("a == 1\n  && b == 2")
    assert str(found.value) == ("ERROR: <input>:1:1: undeclared reference to 'a' (in container '')\n | a == 1\n | ^\n"
                                "ERROR: <input>:2:6: undeclared reference to 'b' (in container '')\n |   && b == 2\n | .....^")


@pytest.mark.parametrize(("source", "cost"), [
    ("1 + 2 == 3", 2), ("self.a.b", 3), ("has(self.a)", 1), ("[1, 2, 3].all(x, true)", 20), ("{'a': 1}['a']", 31),
    ("self.text.startsWith('0123456789ab')", 4), ("self.text.matches('[a-z]+')", 8), ("self.text + self.text == ''", 8),
    ("[1, 2].map(x, x * 2)", 49), ("1 in self.list", 13),
])
def test_costs_are_those_of_cel_go(environment: Environment, source: str, cost: int) -> None:
    found = environment.compile(source).run({"self": {"a": {"b": 1}, "text": "abcdefghijklmnopqrst", "list": [2] * 11}})
    assert (found.error, found.cost) == (None, cost)
