"""AdmissionReview: what a webhook is told, and what of its answer counts. Pure.

Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/request` and `…/errors`.
"""
from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

from kubepy.api.errors import ApiError
from kubepy.api.types import Object
from kubepy.apiserver.admission.match import namespace_of
from kubepy.apiserver.admission.view import View, options_of
from kubepy.apiserver.webhook import CallError

VERSIONS = ("v1", "v1beta1")


@dataclass(frozen=True, slots=True)
class Verdict:
    allowed: bool
    status: Object | None = None
    patch: bytes = b""
    warnings: tuple[str, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)


def version_for(versions: list[str]) -> str:
    """The first review version of the webhook's list that we speak; raises CallError."""
    for version in versions:
        if version in VERSIONS:
            return version
    raise CallError(f"webhook does not accept known AdmissionReview versions (v1, v1beta1): {versions}")


def build(view: View, uid: str, version: str) -> Object:
    attributes = view.attributes
    context = attributes.context
    own = context.kind.resource
    user = context.user
    group, kind_version, kind = view.kind
    request_kind = (own.group, own.version, own.kind) if not attributes.subresource else view.kind
    info: dict[str, Any] = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    request: dict[str, Any] = {
        "uid": uid, "kind": {"group": group, "version": kind_version, "kind": kind},
        "resource": {"group": view.resource.group, "version": view.resource.version, "resource": view.resource.plural}}
    if attributes.subresource:
        request["subResource"] = attributes.subresource
    request["requestKind"] = dict(zip(("group", "version", "kind"), request_kind, strict=True))
    request["requestResource"] = {"group": own.group, "version": own.version, "resource": own.plural}
    if attributes.subresource:
        request["requestSubResource"] = attributes.subresource
    name = "" if context.info.verb == "deletecollection" else attributes.name
    if name:
        request["name"] = name
    if namespace := namespace_of(attributes):
        request["namespace"] = namespace
    request |= {"operation": attributes.operation, "userInfo": info, "object": view.obj, "oldObject": view.old,
                "dryRun": context.dry_run, "options": options_of(attributes)}
    return {"kind": "AdmissionReview", "apiVersion": f"admission.k8s.io/{version}", "request": request}


def read(reply: Object, uid: str, version: str, *, mutating: bool) -> Verdict:
    """VerifyAdmissionResponse; raises CallError."""
    response = reply.get("response")
    if not isinstance(response, dict):
        raise CallError("webhook response was absent")
    patch = _patch(response)
    if version == "v1":
        if response.get("uid", "") != uid:
            raise CallError(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
        kind = response.get("patchType")
        if mutating:
            if patch and kind is None:
                raise CallError("webhook returned response.patch but not response.patchType")
            if kind is not None and not patch:
                raise CallError(f"webhook returned response.patchType but not response.patch, patchType={kind}")
            if kind not in (None, "JSONPatch"):
                raise CallError(f'invalid response.patchType, expected "JSONPatch", got "{kind}"')
        elif patch or kind is not None:
            raise CallError("validating webhook may not return response.patch or response.patchType")
    status, annotations = response.get("status"), response.get("auditAnnotations")
    return Verdict(response.get("allowed") is True, status if isinstance(status, dict) else None, patch,
                   tuple(text for text in response.get("warnings") or () if isinstance(text, str)),
                   {str(key): str(value) for key, value in (annotations if isinstance(annotations, dict) else {}).items()})


def _patch(response: Object) -> bytes:
    text = response.get("patch")
    if not text:
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise CallError(f"illegal base64 data in response.patch: {error}") from error


def denied(name: str, status: Object | None) -> ApiError:
    """ToStatusErr: a refusal with the webhook's own code, reason and details."""
    status = status or {}
    told = str(status.get("message") or status.get("reason") or "")
    title = f'admission webhook "{name}" denied the request'
    code = status.get("code")
    return ApiError(f"{title}: {told}" if told else f"{title} without explanation", status.get("details"),
                    code=code if isinstance(code, int) and code >= 400 else 400, reason=str(status.get("reason") or ""))
