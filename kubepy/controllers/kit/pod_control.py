"""Creating and deleting pods for an owner, with upstream's events (`controller.RealPodControl`)."""
from __future__ import annotations

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import PODS, Resource
from kubepy.api.types import Object
from kubepy.client.events import Recorder
from kubepy.client.interface import Client
from kubepy.controllers.kit.adoption import owner_reference


def pod_from_template(owner: Object, resource: Resource, template: Object, *, name: str = "") -> Object:
    """A pod of `template`, owned by `owner`; without a name the server makes one from the owner's."""
    source = template.get("metadata") or {}
    metadata: Object = {"namespace": owner["metadata"]["namespace"], "ownerReferences": [owner_reference(owner, resource)]}
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{owner['metadata']['name']}-"
    for field in ("labels", "annotations"):
        if source.get(field):
            metadata[field] = dict(source[field])
    if source.get("finalizers"):
        metadata["finalizers"] = list(source["finalizers"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def is_namespace_terminating(error: ApiError) -> bool:
    """The namespace is going away: trying again is pointless, and no event is worth recording in it."""
    return any(cause.get("reason") == "NamespaceTerminating" for cause in (error.details or {}).get("causes") or ())


class PodControl:
    def __init__(self, client: Client, recorder: Recorder) -> None:
        self._client, self._recorder = client, recorder

    async def create(self, pod: Object, owner: Object) -> Object:
        try:
            created = await self._client.create(PODS, pod)
        except ApiError as error:
            if not is_namespace_terminating(error):
                self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {created['metadata']['name']}")
        return created

    async def delete(self, pod: Object, owner: Object) -> None:
        """Raises NotFound when it is gone already."""
        metadata = pod["metadata"]
        try:
            await self._client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except NotFound:
            raise
        except ApiError as error:
            self._recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata['name']}")
