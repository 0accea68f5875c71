"""AlwaysPullImages and ImagePolicyWebhook: which images pods may run. Both off by default.

Source: `plugin/pkg/admission/{alwayspullimages,imagepolicy}`."""
from __future__ import annotations

from collections.abc import Iterator

import orjson

from kubepy.api import field
from kubepy.api.resource import PODS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.services import Services
from kubepy.apiserver.webhook.peer import Peer, PeerError
from kubepy.base.log import get_logger

log = get_logger("admission")
KINDS = ("initContainers", "containers", "ephemeralContainers")
_MAX_CACHED = 1024
_DEFAULT_SECONDS = 300.0


def _containers(pod: Object | None) -> Iterator[tuple[field.Path, Object]]:
    spec = (pod or {}).get("spec") or {}
    for kind in KINDS:
        for index, container in enumerate(spec.get(kind) or ()):
            yield field.Path("spec").child(kind).index(index), container


class AlwaysPullImages(Plugin):
    """Every image is pulled for every pod, so that only those use a private one who have its credentials."""

    name = "AlwaysPullImages"
    mutates = True
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, PODS) and subresource == "" and operation in ("CREATE", "UPDATE")

    async def admit(self, attributes: Attributes) -> None:
        if _no_new_image(attributes):
            return
        for _, container in _containers(attributes.obj):
            container["imagePullPolicy"] = "Always"
        for volume in ((attributes.obj or {}).get("spec") or {}).get("volumes") or ():
            if volume.get("image") and volume["image"].get("reference"):
                volume["image"]["pullPolicy"] = "Always"

    async def admit_valid(self, attributes: Attributes) -> None:
        if _no_new_image(attributes):
            return
        for path, container in _containers(attributes.obj):
            if container.get("imagePullPolicy") != "Always":
                raise refuse(attributes, str(field.not_supported(path.child("imagePullPolicy"), container.get("imagePullPolicy") or "",
                                                                 ("Always",))))


def _no_new_image(attributes: Attributes) -> bool:
    """Whether an update brings no image that was not there before."""
    if attributes.operation != "UPDATE":
        return False
    before = {container.get("image") for _, container in _containers(attributes.old)}
    return all(container.get("image") in before for _, container in _containers(attributes.obj))


class ImagePolicyWebhook(Plugin):
    """Asks another service, by ImageReview, about the images of each pod."""

    name = "ImagePolicyWebhook"
    validates = True

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        given = (services.admission.get(self.name) or {}).get("imagePolicy")
        if not isinstance(given, dict) or not given.get("kubeConfigFile"):
            raise ValueError("admission plugin ImagePolicyWebhook needs imagePolicy.kubeConfigFile in --admission-control-config-file")
        self._peer = Peer(str(given["kubeConfigFile"]), services.clock, flag="admission-control-config-file")
        self._seconds = (float(given.get("allowTTL") or _DEFAULT_SECONDS), float(given.get("denyTTL") or _DEFAULT_SECONDS))
        self._default_allow = given.get("defaultAllow") is True
        self._cache: dict[bytes, tuple[float, bool, str]] = {}

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, PODS) and subresource in ("", "ephemeralcontainers") and operation in ("CREATE", "UPDATE")

    async def admit_valid(self, attributes: Attributes) -> None:
        if _no_new_image(attributes) or attributes.obj is None:
            return
        notes = attributes.obj["metadata"].get("annotations") or {}
        spec: Object = {"containers": [{"image": container.get("image", "")} for _, container in _containers(attributes.obj)],
                        "annotations": {key: value for key, value in sorted(notes.items()) if ".image-policy.k8s.io/" in key},
                        "namespace": attributes.namespace}
        key, now = orjson.dumps(spec), self.services.clock.monotonic()
        cached = self._cache.get(key)
        if cached is None or cached[0] <= now:
            try:
                answer = await self._peer.post({"kind": "ImageReview", "apiVersion": "imagepolicy.k8s.io/v1alpha1", "spec": spec})
            except PeerError as error:
                if self._default_allow:
                    log.warning("Images are allowed without a review, the webhook failed", error=str(error))
                    attributes.context.audit_annotations["imagepolicywebhook.image-policy.k8s.io/failed-open"] = "true"
                    return
                raise refuse(attributes, str(error)) from error
            status = (answer or {}).get("status") or {}
            allowed = status.get("allowed") is True
            cached = (now + self._seconds[0 if allowed else 1], allowed, str(status.get("reason") or ""))
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[key] = cached
        if not cached[1]:
            raise refuse(attributes, f"image policy webhook backend denied one or more images: {cached[2]}" if cached[2]
                         else "one or more images rejected by webhook backend")
