"""Conversion between versions by a webhook (`pkg/apiserver/conversion/webhook_converter.go`)."""
from __future__ import annotations

import uuid
from collections.abc import Sequence

from kubepy.api.errors import ApiError
from kubepy.api.types import Object
from kubepy.apiserver.crd.convert import Converter
from kubepy.apiserver.webhook import Caller, CallError

SECONDS = 30.0
_SUPPORTED = ("v1", "v1beta1")
_FIXED = ("name", "namespace", "uid")


def webhook_of(caller: Caller, crd: Object) -> Converter | None:
    """The converter of a definition, None where only the apiVersion changes."""
    conversion = crd["spec"].get("conversion") or {}
    if conversion.get("strategy") != "Webhook":
        return None
    webhook = conversion.get("webhook") or {}
    known = [version for version in webhook.get("conversionReviewVersions") or () if version in _SUPPORTED]
    return Webhook(caller, webhook.get("clientConfig") or {}, known[0] if known else _SUPPORTED[0])


class Webhook:
    """Asks one definition's webhook."""

    def __init__(self, caller: Caller, config: Object, version: str) -> None:
        self._caller = caller
        self._config = config
        self._api_version = f"apiextensions.k8s.io/{version}"

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """The objects in another version, in order; raises ApiError (500)."""
        wanted = [obj for obj in objects if obj["apiVersion"] != api_version]
        if not wanted:
            return list(objects)
        first = wanted[0]
        title = f"conversion webhook for {first['apiVersion']}, Kind={first['kind']}"
        uid = str(uuid.uuid4())
        review = {"kind": "ConversionReview", "apiVersion": self._api_version,
                  "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": wanted}}
        try:
            answer = (await self._caller.review(self._config, review, seconds=SECONDS)).get("response") or {}
        except CallError as error:
            raise _failed(f"{title} failed: {error}") from error
        if answer.get("uid") != uid:
            raise _failed(f'{title} failed: expected response.uid="{uid}", got "{answer.get("uid") or ""}"')
        result = answer.get("result") or {}
        if result.get("status") != "Success":
            raise _failed(f"{title} failed: {result.get('message') or 'no message'}")
        converted = answer.get("convertedObjects") or []
        if len(converted) != len(wanted):
            raise _failed(f"{title} returned {len(converted)} objects, expected {len(wanted)}")
        found = iter([_checked(new, old, api_version, f"{title} returned invalid", position)
                      for position, (new, old) in enumerate(zip(converted, wanted, strict=True))])
        return [obj if obj["apiVersion"] == api_version else next(found) for obj in objects]


def _checked(new: Object, old: Object, api_version: str, title: str, position: int) -> Object:
    """A converted object with the metadata it had; the webhook decides on labels and annotations only."""
    if new.get("apiVersion") != api_version:
        raise _failed(f"{title} converted object at index {position}: invalid groupVersion (expected {api_version}, received "
                      f"{new.get('apiVersion') or ''})")
    if new.get("kind") != old["kind"]:
        raise _failed(f"{title} converted object at index {position}: invalid kind (expected {old['kind']}, received "
                      f"{new.get('kind') or ''})")
    metadata, before = new.get("metadata"), old["metadata"]
    if not isinstance(metadata, dict):
        raise _failed(f"{title} metadata at index {position}: missing metadata in converted object")
    for field in _FIXED:
        if (metadata.get(field) or "") != (before.get(field) or ""):
            raise _failed(f"{title} metadata at index {position}: must have the same {field}: {before.get(field) or ''} != "
                          f"{metadata.get(field) or ''}")
    kept = {key: value for key, value in before.items() if key not in ("labels", "annotations")}
    for field in ("labels", "annotations"):
        if metadata.get(field):
            kept[field] = metadata[field]
    return {**new, "metadata": kept}


def _failed(message: str) -> ApiError:
    return ApiError(message, reason="")
