"""Feature gates as `--feature-gates` and configurations set them."""
from __future__ import annotations

import argparse

import pytest

from kubepy.base.gate import ALPHA, BETA, GA, GATES, GateError, add_flag, chosen, parse

BOTH = frozenset({"StorageVersionAPI", "WatchList"})


@pytest.mark.parametrize(("texts", "changed"), [
    pytest.param([], {}, id="nothing said"),
    pytest.param(["WatchList=true,CBORServingAndStorage=false"], {}, id="what is so anyway"),
    pytest.param(["StorageVersionAPI=true, WatchList=0"], {"StorageVersionAPI": True, "WatchList": False}, id="both states are there"),
    pytest.param(["StorageVersionAPI=true", "StorageVersionAPI=false"], {}, id="the last word counts"),
    pytest.param(["kube:StorageVersionAPI=T"], {"StorageVersionAPI": True}, id="the component is named"),
    pytest.param(["DynamicResourceAllocation=true"], {}, id="a locked gate as it is"),
    pytest.param(["AllAlpha=false"], {}, id="a group as it is"),
    pytest.param(["AllAlpha=false,StorageVersionAPI=true"], {"StorageVersionAPI": True}, id="a gate's own setting wins over its group"),
])
def test_settings(texts: list[str], changed: dict[str, bool]) -> None:
    assert parse(texts, BOTH).changed() == changed


@pytest.mark.parametrize(("text", "message"), [
    pytest.param("Nonsense=true", "unrecognized feature gate: Nonsense", id="unknown"),
    pytest.param("A=true,B=false", "[unrecognized feature gate: A, unrecognized feature gate: B]", id="two unknown"),
    pytest.param("WatchList", "missing bool value for WatchList", id="without a value"),
    pytest.param("WatchList=yes", 'invalid value of WatchList=yes, err: strconv.ParseBool: parsing "yes": invalid syntax', id="no bool"),
    pytest.param("DynamicResourceAllocation=false", "cannot set feature gate DynamicResourceAllocation to false, feature is locked to true",
                 id="locked"),
    pytest.param("cloud:WatchList=true", "component not registered: cloud", id="another component"),
    pytest.param("OpenAPIEnums=false", "feature gate OpenAPIEnums cannot be false here: it is true, as in v1.36 by default",
                 id="only one state is there"),
])
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(GateError) as caught:
        parse([text], BOTH)
    assert str(caught.value) == message


def test_all_alpha_needs_every_alpha_feature() -> None:
    with pytest.raises(GateError, match=r"^AllAlpha=true is not supported: APIServingWithRoutine, .* cannot be switched here$"):
        chosen({"AllAlpha": True}, BOTH)
    assert chosen({"AllAlpha": True}, frozenset(GATES))["StorageVersionAPI"]


def test_groups_that_cannot_be_switched_are_refused() -> None:
    with pytest.raises(GateError, match=r"^AllBeta=false is not supported: APIResponseCompression, "):
        chosen({"AllBeta": False}, BOTH)


def test_a_flag_that_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="x")
    add_flag(parser, BOTH)
    assert not parser.parse_args([]).feature_gates.changed()
    given = parser.parse_args(["--feature-gates=WatchList=false", "--feature-gates", "StorageVersionAPI=true"]).feature_gates
    assert given.changed() == {"WatchList": False, "StorageVersionAPI": True}
    with pytest.raises(SystemExit):
        parser.parse_args(["--feature-gates=Nonsense=true"])
    assert 'invalid argument "Nonsense=true" for "--feature-gates" flag: unrecognized feature gate: Nonsense' in capsys.readouterr().err


def test_stages_and_defaults_agree() -> None:
    assert not [name for name, gate in GATES.items() if gate.stage == ALPHA and gate.default]
    assert all(gate.default for gate in GATES.values() if gate.stage == GA)
    assert GATES["WatchList"].stage == BETA
