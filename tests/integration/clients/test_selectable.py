"""Custom resources of two versions, converted by a webhook, are listed and watched by fields that each version names for itself."""
from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apiserver import ApiServer
from tests.e2e.cluster import eventually
from tests.integration.apiserver.test_extension import certificate
from tests.integration.clients.test_operations import say

pytestmark = pytest.mark.etcd
GROUP = "selectable.example.com"
HEX = {"blue": "0000FF", "green": "00FF00", "red": "FF0000"}
SHIRTS = "/apis/selectable.example.com/{}/namespaces/default/shirts"


class Converter(BaseHTTPRequestHandler):
    """v1 calls a colour by its name, v2 by its number."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        wanted = request["desiredAPIVersion"]
        objects = [{**each, "apiVersion": wanted, "spec": spec_in(wanted, each["spec"])} for each in request["objects"]]
        body = json.dumps({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {
            "uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


def spec_in(version: str, spec: dict[str, str]) -> dict[str, str]:
    if version.endswith("/v2"):
        return {"hex": HEX[spec["color"]]} if "color" in spec else spec
    return {"color": next(name for name, number in HEX.items() if number == spec["hex"])} if "hex" in spec else spec


@pytest.fixture
def http(tmp_path: Path) -> Iterator[httpx.Client]:
    cert, key = certificate(tmp_path, "localhost")
    webhook = ThreadingHTTPServer(("127.0.0.1", 0), Converter)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    webhook.socket = context.wrap_socket(webhook.socket, server_side=True)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    with ApiServer("--disable-admission-plugins=ServiceAccount") as server, httpx.Client(
            base_url=server.url, verify=ssl.create_default_context(cafile=server.ca), timeout=60,
            headers={"Authorization": f"Bearer {server.token}"}) as client:
        say(client.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=definition(
            f"https://localhost:{webhook.server_port}/convert", cert.read_bytes())))
        eventually("both versions are served", lambda: all(client.get(SHIRTS.format(one)).is_success for one in ("v1", "v2")))
        yield client
    webhook.shutdown()
    webhook.server_close()


def definition(url: str, authority: bytes) -> Any:
    def version(name: str, field: str) -> Any:
        return {"name": name, "served": True, "storage": name == "v1", "selectableFields": [{"jsonPath": f".spec.{field}"}], "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {field: {"type": "string"}}}}}}}
    return {"metadata": {"name": f"shirts.{GROUP}"}, "spec": {
        "group": GROUP, "scope": "Namespaced", "names": {"plural": "shirts", "singular": "shirt", "kind": "Shirt", "listKind": "ShirtList"},
        "versions": [version("v1", "color"), version("v2", "hex")],
        "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {
            "url": url, "caBundle": base64.b64encode(authority).decode()}}}}}


def selected(http: httpx.Client, version: str, selector: str) -> list[str]:
    return [item["metadata"]["name"] for item in say(http.get(SHIRTS.format(version), params={"fieldSelector": selector}))["items"]]


def test_lists_and_watches_select_by_the_fields_of_their_version(http: httpx.Client) -> None:
    begin = say(http.get(SHIRTS.format("v1")))["metadata"]["resourceVersion"]
    for version, name, spec in (("v1", "one", {"color": "blue"}), ("v2", "two", {"hex": HEX["blue"]}), ("v1", "three", {"color": "green"})):
        say(http.post(SHIRTS.format(version), json={"apiVersion": f"{GROUP}/{version}", "kind": "Shirt", "metadata": {"name": name},
                                                    "spec": spec}))
    assert selected(http, "v1", "spec.color=blue") == selected(http, "v2", f"spec.hex={HEX['blue']}") == ["one", "two"]
    assert selected(http, "v1", "spec.color!=blue") == selected(http, "v2", f"spec.hex=={HEX['green']}") == ["three"]
    for version, other in (("v1", "hex"), ("v2", "color")):
        assert http.get(SHIRTS.format(version), params={"fieldSelector": f"spec.{other}=x"}).status_code == 400
    say(http.patch(f"{SHIRTS.format('v2')}/two", json={"spec": {"hex": HEX["red"]}},
                   headers={"Content-Type": "application/merge-patch+json"}))
    say(http.delete(f"{SHIRTS.format('v1')}/one"))
    say(http.delete(SHIRTS.format("v2"), params={"fieldSelector": f"spec.hex={HEX['green']}"}))
    assert selected(http, "v1", "spec.color=red") == ["two"]
    assert selected(http, "v2", f"spec.hex!={HEX['red']}") == []
    expected = [("ADDED", "one"), ("ADDED", "two"), ("DELETED", "two"), ("DELETED", "one")]
    for version, selector in (("v1", "spec.color=blue"), ("v2", f"spec.hex={HEX['blue']}")):
        events = []
        with http.stream("GET", SHIRTS.format(version), params={"watch": "true", "fieldSelector": selector, "resourceVersion": begin,
                                                                "timeoutSeconds": "60"}) as answer:
            for line in answer.iter_lines():
                event = json.loads(line)
                assert event["object"]["apiVersion"] == f"{GROUP}/{version}"
                events.append((event["type"], event["object"]["metadata"]["name"]))
                if len(events) == len(expected):
                    break
        assert events == expected
