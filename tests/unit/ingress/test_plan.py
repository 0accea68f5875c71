"""What Ingress objects become: sites, backends, certificates, complaints, and nginx' configuration of them."""
from __future__ import annotations

import base64
from pathlib import Path

import pytest

from kubepy.client.serving import self_signed
from kubepy.ingress.main import published
from kubepy.ingress.nginx import Options, render
from kubepy.ingress.plan import CONTROLLER, Sources, plan

GOLDEN = Path(__file__).with_name("nginx.conf")
CLASSES = [{"metadata": {"name": "ours"}, "spec": {"controller": CONTROLLER}}, {"metadata": {"name": "other"}, "spec": {"controller": "x"}}]
PEM = self_signed("site.test")


def to(service, port=80, path="/", kind="Prefix"):
    wanted = {"name": port} if isinstance(port, str) else {"number": port}
    return {"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": wanted}}}


def ingress(name, *rules, at="2026-01-01T00:00:00Z", namespace="default", cls="ours", **spec):
    return {"metadata": {"name": name, "namespace": namespace, "creationTimestamp": at},
            "spec": {"ingressClassName": cls, "rules": [{**({"host": host} if host else {}), "http": {"paths": list(paths)}}
                                                        for host, *paths in rules], **spec}}


def service(name, **spec):
    return {"metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "ClusterIP", "ports": [{"name": "http", "port": 80, "targetPort": 8080}], **spec}}


def endpoints(*addresses, port=8080, **conditions):
    return {"ports": [{"name": "http", "port": port}],
            "endpoints": [{"addresses": [address], "conditions": conditions or {"ready": True}} for address in addresses]}


def planned(*ingresses, services=("web", "api"), slices=None, secrets=None):
    known = {item if isinstance(item, str) else item["metadata"]["name"]: service(item) if isinstance(item, str) else item
             for item in services}
    slices = slices if slices is not None else {"web": [endpoints("10.0.0.1", "10.0.0.2")], "api": [endpoints("10.0.0.3")]}
    return plan(Sources(list(ingresses), CLASSES, lambda _, name: known.get(name), lambda _, name: slices.get(name, ()),
                        lambda namespace, name: (secrets or {}).get(f"{namespace}/{name}")))


def secret(chain=PEM, key=PEM):
    return {"data": {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}}


def shown(found):
    return {site.host: [(path.kind, path.path, path.backend) for path in site.paths] for site in found.state.sites}


def test_paths_are_ordered_from_long_to_short():
    found = planned(ingress("a", ("x.test", to("web"), to("api", path="/api/v1/"), to("web", path="/api", kind="Exact"))))
    assert shown(found) == {"x.test": [("Prefix", "/api/v1", "default/api:80"), ("Exact", "/api", "default/web:80"),
                                       ("Prefix", "/", "default/web:80")]}
    assert found.state.backends["default/web:80"].endpoints == ("10.0.0.1:8080", "10.0.0.2:8080")
    assert not found.problems


def test_the_older_ingress_keeps_a_path_and_others_are_told():
    found = planned(ingress("young", ("x.test", to("web")), at="2026-02-01T00:00:00Z"), ingress("old", ("x.test", to("api"))))
    assert shown(found) == {"x.test": [("Prefix", "/", "default/api:80")]}
    assert [(item.ingress["metadata"]["name"], item.reason) for item in found.problems] == [("young", "Conflict")]


def test_only_our_classes_are_served():
    annotated = ingress("c", ("c.test", to("web")), cls="")
    annotated["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "ours"}
    found = planned(ingress("a", ("a.test", to("web")), cls="other"), ingress("b", ("b.test", to("web")), cls=""), annotated)
    assert list(shown(found)) == ["c.test"]


@pytest.mark.parametrize(("backend", "message"), [
    pytest.param(to("none"), 'service "default/none" does not exist', id="a missing service"),
    pytest.param(to("web", 81), 'service "default/web" has no port 81', id="a missing port"),
    pytest.param(to("web", "grpc"), 'service "default/web" has no port grpc', id="a missing named port"),
    pytest.param(to("out"), 'service "default/out" is of type ExternalName, which cannot be a backend', id="an external name"),
    pytest.param({"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "b"}}},
                 "only services can be backends, not resources", id="a resource"),
])
def test_backends_that_cannot_be_reached_are_told_and_answer_503(backend, message):
    found = planned(ingress("a", ("x.test", backend)), services=("web", service("out", type="ExternalName", externalName="e.test")))
    assert [item.message for item in found.problems] == [message]
    assert "return 503;" in render(found.state, Options(Path("/x")))


@pytest.mark.parametrize(("slices", "expected"), [
    pytest.param([endpoints("10.0.0.1", ready=False), endpoints("10.0.0.2")], ("10.0.0.2:8080",), id="only ready ones"),
    pytest.param([endpoints("10.0.0.1", ready=False, serving=True, terminating=True), endpoints("10.0.0.2", ready=False)],
                 ("10.0.0.1:8080",), id="terminating ones where none is ready"),
    pytest.param([endpoints("10.0.0.1"), endpoints("10.0.0.1", "fd00::1", port=9090)],
                 ("10.0.0.1:8080", "10.0.0.1:9090", "[fd00::1]:9090"), id="each slice with its own port, IPv6 in brackets"),
])
def test_endpoints(slices, expected):
    found = planned(ingress("a", ("x.test", to("web", "http"))), slices={"web": slices})
    assert found.state.backends["default/web:http"].endpoints == expected


def test_default_backends():
    default = {"service": {"name": "api", "port": {"number": 80}}}
    found = planned(ingress("all", defaultBackend=default), ingress("x", ("x.test", to("web", path="/w"))),
                    ingress("y", ("y.test", to("web", path="/w")), defaultBackend={"service": {"name": "web", "port": {"number": 80}}}))
    assert {site.host: site.default for site in found.state.sites} == {
        "": "default/api:80", "x.test": "default/api:80", "y.test": "default/web:80"}


@pytest.mark.parametrize(("secrets", "message"), [
    pytest.param({}, 'secret "default/cert" does not exist', id="no secret"),
    pytest.param({"default/cert": {"data": {"tls.crt": "eA=="}}}, 'secret "default/cert" has no tls.key', id="no key"),
    pytest.param({"default/cert": secret(b"x", b"y")}, 'secret "default/cert" holds no usable PEM certificate and key', id="not PEM"),
    pytest.param({"default/cert": secret(PEM, self_signed("other"))}, 'secret "default/cert" holds a key that is not the certificate\'s',
                 id="another key"),
])
def test_certificates_that_cannot_be_used_are_told(secrets, message):
    found = planned(ingress("a", ("x.test", to("web")), tls=[{"hosts": ["x.test"], "secretName": "cert"}]), secrets=secrets)
    assert [item.message for item in found.problems] == [f"{message}; the default certificate is served"]
    assert (found.state.sites[0].certificate, found.state.sites[0].tls) == ("", True)


def test_a_wildcard_certificate_covers_one_label():
    found = planned(ingress("a", ("x.site.test", to("web")), ("x.y.site.test", to("web")), ("*.site.test", to("web")),
                            tls=[{"hosts": ["*.site.test"], "secretName": "cert"}]), secrets={"default/cert": secret()})
    assert {site.host: site.certificate for site in found.state.sites} == {
        "*.site.test": "default/cert", "x.site.test": "default/cert", "x.y.site.test": ""}


def test_the_configuration_is_the_recorded_one(request):
    found = planned(
        ingress("a", ("x.test", to("web"), to("api", path="/api"), to("web", path='/a "b"', kind="Exact")), ("*.w.test", to("sticky")),
                tls=[{"secretName": "cert"}]),
        services=("web", "api", service("sticky", sessionAffinity="ClientIP")),
        slices={"web": [endpoints("10.0.0.1", "10.0.0.2")], "sticky": [endpoints("fd00::1")]}, secrets={"default/cert": secret()})
    text = render(found.state, Options(Path("/run/x"), user="www-data"))
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize(("text", "entry"), [("192.0.2.1", {"ip": "192.0.2.1"}), ("lb.test", {"hostname": "lb.test"})])
def test_published_addresses(text, entry):
    assert published(text) == entry
