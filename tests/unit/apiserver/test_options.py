"""Flags of the API server that are more than one value."""
from __future__ import annotations

import pytest

from kubepy.apiserver.options import parse


def test_flags_that_may_be_repeated() -> None:
    options = parse(["--tls-sni-cert-key=a.crt,a.key:x,*.y", "--tls-sni-cert-key", "b.crt,b.key", "--feature-gates=StorageVersionAPI=true",
                     "--feature-gates=WatchList=true,AllAlpha=false", "--authorization-mode=Node,RBAC"])
    assert options.check() == []
    assert options.tls_sni_cert_key == ("a.crt,a.key:x,*.y", "b.crt,b.key")
    assert options.gates.changed() == {"StorageVersionAPI": True}


@pytest.mark.parametrize(("flag", "problem"), [
    pytest.param("--feature-gates=Nonsense=true", "--feature-gates: unrecognized feature gate: Nonsense", id="an unknown gate"),
    pytest.param("--feature-gates=SidecarContainers=false",
                 "--feature-gates: cannot set feature gate SidecarContainers to false, feature is locked to true", id="a locked gate"),
    pytest.param("--tls-sni-cert-key=a.crt",
                 'invalid argument "a.crt" for "--tls-sni-cert-key" flag: expected comma separated certificate and key file paths',
                 id="a certificate without a key"),
])
def test_problems(flag: str, problem: str) -> None:
    assert parse([flag]).check() == [problem]
