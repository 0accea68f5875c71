"""A small extension API server: the group `example.kubepy.io/v1` with the resource `greetings`, made up for whoever asks.

    python server.py --cert tls.crt --key tls.key --client-ca front-proxy-ca.crt --port 8443

The API server proves itself with its front-proxy client certificate (--proxy-client-cert-file) and names the caller in X-Remote-*
headers; nobody else may connect. Register it with `apiservice.yaml`, then: kubectl get greetings
"""
from __future__ import annotations

import argparse
import ssl
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

GROUP, VERSION = "example.kubepy.io", "v1"
API_VERSION = f"{GROUP}/{VERSION}"
app = FastAPI(openapi_url=None)


@app.get(f"/apis/{GROUP}/{VERSION}")
async def resources() -> dict[str, Any]:
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION, "resources": [
        {"name": "greetings", "singularName": "greeting", "namespaced": False, "kind": "Greeting", "verbs": ["get", "list"],
         "shortNames": ["hi"]}]}


@app.get(f"/apis/{GROUP}/{VERSION}/greetings")
async def greetings(request: Request) -> dict[str, Any]:
    return {"kind": "GreetingList", "apiVersion": API_VERSION, "metadata": {"resourceVersion": "1"},
            "items": [greeting(name, request) for name in ("hello", "goodbye")]}


@app.get(f"/apis/{GROUP}/{VERSION}/greetings/{{name}}")
async def one(name: str, request: Request) -> Any:
    if name not in ("hello", "goodbye"):
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
                  "message": f'greetings.{GROUP} "{name}" not found', "details": {"name": name, "group": GROUP, "kind": "greetings"}}
        return JSONResponse(status, 404)
    return greeting(name, request)


SCHEMA = {
    "type": "object", "description": "A greeting for whoever asks.",
    "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                   "text": {"type": "string", "description": "What is said to the caller."},
                   "groups": {"type": "array", "items": {"type": "string"}, "description": "The groups the caller is in."}},
    "x-kubernetes-group-version-kind": [{"group": GROUP, "version": VERSION, "kind": "Greeting"}]}


@app.get("/openapi/v3")
async def documents() -> dict[str, Any]:
    """The API server shows these beside its own, so that `kubectl explain greetings` works."""
    path = f"apis/{GROUP}/{VERSION}"
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"}}}


@app.get(f"/openapi/v3/apis/{GROUP}/{VERSION}")
async def document() -> dict[str, Any]:
    mark = {"x-kubernetes-group-version-kind": SCHEMA["x-kubernetes-group-version-kind"][0], "x-kubernetes-action": "get"}
    answer = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/io.kubepy.example.v1.Greeting"}}}}
    return {"openapi": "3.0.0", "info": {"title": "greetings", "version": VERSION},
            "paths": {f"/apis/{GROUP}/{VERSION}/greetings/{{name}}": {"get": {"responses": {"200": answer}, **mark}}},
            "components": {"schemas": {"io.kubepy.example.v1.Greeting": SCHEMA}}}


def greeting(name: str, request: Request) -> dict[str, Any]:
    return {"kind": "Greeting", "apiVersion": API_VERSION, "metadata": {"name": name},
            "text": f"{name}, {request.headers.get('x-remote-user', 'stranger')}", "groups": request.headers.getlist("x-remote-group")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--client-ca", required=True)
    parser.add_argument("--port", type=int, default=8443)
    options = parser.parse_args()
    uvicorn.run(app, host="0.0.0.0", port=options.port, ssl_certfile=options.cert, ssl_keyfile=options.key,
                ssl_ca_certs=options.client_ca, ssl_cert_reqs=ssl.CERT_REQUIRED, log_level="warning")


if __name__ == "__main__":
    main()
