"""What /statusz and /flagz answer to which Accept header."""
from __future__ import annotations

import orjson
import pytest
import yaml

from kubepy.base import zpage

FULL = "application/json;v=v1beta1;g=config.k8s.io;as=Statusz"


@pytest.mark.parametrize(("accept", "status", "kind"), [
    pytest.param("", 200, "text/plain; charset=utf-8", id="nothing said"),
    pytest.param("*/*", 200, "text/plain; charset=utf-8", id="anything"),
    pytest.param(FULL, 200, "application/json", id="the object, in full"),
    pytest.param(FULL.replace("json", "yaml"), 200, "application/yaml", id="as YAML"),
    pytest.param(f"{FULL.replace('v1beta1', 'v9')}, text/plain", 200, "text/plain; charset=utf-8", id="the second wish"),
    pytest.param("application/json", 406, "text/plain; charset=utf-8", id="JSON of no kind"),
    pytest.param(FULL.replace("Statusz", "Flagz"), 406, "text/plain; charset=utf-8", id="another page's kind"),
])
def test_what_is_answered(accept: str, status: int, kind: str) -> None:
    found = zpage.statusz("kube-apiserver", "1.36.0", ("/healthz",), accept, zpage.STARTED + 3661)
    assert found[:2] == (status, kind)
    if kind.startswith("application/"):
        obj = yaml.safe_load(found[2])
        assert (obj["kind"], obj["apiVersion"], obj["metadata"]["name"]) == ("Statusz", "config.k8s.io/v1beta1", "kube-apiserver")
        assert (obj["uptimeSeconds"], obj["emulationVersion"], obj["minimumCompatibilityVersion"]) == (3661, "1.36", "1.35")
        assert obj["paths"] == ["/flagz", "/healthz", "/statusz"]
    elif status == 200:
        assert b"kube-apiserver statusz\nWarning: " in found[2]
        assert b"\nUp: 1 hr 01 min 01 sec\n" in found[2]


def test_flags_are_shown_as_they_are_given() -> None:
    flags = {"leader_elect": True, "controllers": ["*", "-x"], "kubeconfig": "", "run": print, "qps": 2.5}
    _, _, text = zpage.flagz("kube-scheduler", flags, "text/plain")
    assert text.decode().splitlines()[4:] == ["controllers=[*,-x]", "kubeconfig=", "leader-elect=true", "qps=2.5"]
    _, _, body = zpage.flagz("kube-scheduler", flags, FULL.replace("Statusz", "Flagz"))
    assert orjson.loads(body)["flags"]["leader-elect"] == "true"
