"""NodeDeclaredFeatureValidator: a running pod is not changed to need what its node does not declare it can do.

Source: `plugin/pkg/admission/nodedeclaredfeatures`. Of the features that v1.36 infers from an update there are two, both about resizing.
"""
from __future__ import annotations

from kubepy.api.resource import NODES, PODS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.request import Attributes, Operation

INIT_CONTAINERS = "InPlacePodVerticalScalingInitContainers"
POD_LEVEL = "InPlacePodLevelResourcesVerticalScaling"


class NodeDeclaredFeatureValidator(Plugin):
    name = "NodeDeclaredFeatureValidator"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, PODS) and operation == "UPDATE" and subresource in ("", "resize")

    async def admit_valid(self, attributes: Attributes) -> None:
        pod, old = attributes.obj or {}, attributes.old or {}
        name = str((pod.get("spec") or {}).get("nodeName") or "")
        wanted = needed(old, pod) if name else []
        if not wanted:
            return
        entry = self.services.store(NODES).cached("", name)
        if entry is None:
            raise refuse(attributes, f'node "{name}" not found')
        declared = (entry.decode().get("status") or {}).get("declaredFeatures") or ()
        if missing := [feature for feature in wanted if feature not in declared]:
            raise refuse(attributes, f'pod update requires features {", ".join(missing)} which are not available on node "{name}"')


def needed(old: Object, new: Object) -> list[str]:
    """The features that a node must have declared for a change of a pod on it."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    found = []
    if (before.get("resources") or {}) != (after.get("resources") or {}):
        found.append(POD_LEVEL)
    if _first(before) != _first(after):
        found.append(INIT_CONTAINERS)
    return found


def _first(spec: Object) -> list[Object]:
    """Resources of the containers that run and end before the others start."""
    return [container.get("resources") or {} for container in spec.get("initContainers") or ()
            if container.get("restartPolicy") != "Always"]
