"""What the API server tells others about how to authenticate callers."""
from __future__ import annotations

from kubepy.apiserver.options import Options
from kubepy.apiserver.trust import plan


def pem(name: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"


def test_certificates_of_other_servers_are_kept_and_none_is_repeated() -> None:
    data = plan(Options(), pem("mine"), "", {"client-ca-file": pem("other") + pem("mine")})
    assert data == {"client-ca-file": pem("other") + pem("mine")}


def test_the_front_proxy_comes_with_its_header_names() -> None:
    options = Options(requestheader_allowed_names=("front-proxy-client",), requestheader_username_headers=("X-Remote-User",))
    data = plan(options, "", pem("proxy"), {})
    assert data["requestheader-client-ca-file"] == pem("proxy")
    assert data["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert data["requestheader-username-headers"] == '["X-Remote-User"]'


def test_nothing_is_said_of_what_is_not_configured() -> None:
    assert plan(Options(), "", "", {"a": "b"}) == {"a": "b"}
