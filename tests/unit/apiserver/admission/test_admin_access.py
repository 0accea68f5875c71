"""Which requests ask for administrative access to devices."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.apiserver.admission.admin_access import asked

DEVICES: dict[str, Any] = {"devices": {"requests": [{"exactly": {}}, {"exactly": {"adminAccess": True}}, {"firstAvailable": [{}]}]}}


@pytest.mark.parametrize(("obj", "where", "fields"), [
    pytest.param({"spec": DEVICES}, ("spec",), ["spec.devices.requests[1].adminAccess"], id="a claim"),
    pytest.param({"spec": {"spec": DEVICES}}, ("spec", "spec"), ["spec.spec.devices.requests[1].adminAccess"], id="a template"),
    pytest.param({"spec": {}}, ("spec",), [], id="no devices"),
])
def test_asked(obj: dict[str, Any], where: tuple[str, ...], fields: list[str]) -> None:
    assert [error.field for error in asked(obj, where)] == fields
