"""An admission webhook server with rules for pods: it fills a default, warns of what is bad style and denies what is not allowed.

    python server.py --cert tls.crt --key tls.key --port 9443
    kubectl apply -f webhook.yaml && kubectl label namespace default pod-rules=enforced

`/mutate` labels pods with who made them and lets them drop all capabilities; `/validate` denies images of the tag `latest` and warns of
containers without a memory limit. The certificate must be for `pod-rules.default.svc`.
"""
from __future__ import annotations

import argparse
import base64
import json
from typing import Any

import uvicorn
from fastapi import FastAPI

app = FastAPI(openapi_url=None)


def reply(review: dict[str, Any], **response: Any) -> dict[str, Any]:
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": review["request"]["uid"], "allowed": True, **response}}


def escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


@app.post("/mutate")
async def mutate(review: dict[str, Any]) -> dict[str, Any]:
    pod, patch = review["request"]["object"], []
    maker = review["request"]["userInfo"]["username"].replace(":", ".")
    if not pod["metadata"].get("labels"):
        patch.append({"op": "add", "path": "/metadata/labels", "value": {}})
    patch.append({"op": "add", "path": f"/metadata/labels/{escaped('pod-rules/made-by')}", "value": maker})
    for position, container in enumerate(pod["spec"]["containers"]):
        if not container.get("securityContext"):
            path = f"/spec/containers/{position}/securityContext"
            patch.append({"op": "add", "path": path, "value": {"capabilities": {"drop": ["ALL"]}}})
    return reply(review, patchType="JSONPatch", patch=base64.b64encode(json.dumps(patch).encode()).decode(),
                 auditAnnotations={"patched": str(len(patch))})


@app.post("/validate")
async def validate(review: dict[str, Any]) -> dict[str, Any]:
    containers = review["request"]["object"]["spec"]["containers"]
    latest = [item["name"] for item in containers if item["image"].endswith(":latest") or ":" not in item["image"]]
    if latest:
        text = f"images need a tag that stays what it is: {', '.join(latest)}"
        return reply(review, allowed=False, status={"code": 403, "reason": "Forbidden", "message": text})
    unlimited = [item["name"] for item in containers if "memory" not in ((item.get("resources") or {}).get("limits") or {})]
    return reply(review, warnings=[f"container {name} has no memory limit" for name in unlimited])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--port", type=int, default=9443)
    options = parser.parse_args()
    uvicorn.run(app, host="0.0.0.0", port=options.port, ssl_certfile=options.cert, ssl_keyfile=options.key, log_level="warning")


if __name__ == "__main__":
    main()
