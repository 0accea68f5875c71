"""VolumeAttachment: a volume to be attached to a node (`pkg/registry/storage/volumeattachment`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import VOLUME_ATTACHMENTS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.core.podspec_network_volumes import csi_driver_name
from kubepy.apiserver.registry.core.volume_validation import inline_volume_spec
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_MAX_METADATA = 256 * 1024
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


class VolumeAttachmentStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    status_keeps_metadata = True
    returns_deleted = True

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = csi_driver_name(spec.get("attacher", ""), _SPEC.child("attacher"))
        errors += _source(spec.get("source") or {}, _SPEC.child("source"))
        errors += check.named(name.subdomain, spec.get("nodeName", ""), _SPEC.child("nodeName"))
        return errors + _status(obj.get("status") or {})

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return self.validate(context, obj)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = self.validate(context, obj)
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        if new != before:
            source = new.get("source") or {}
            shown = field.Struct(Attacher=new.get("attacher", ""),
                                 Source=field.Struct(PersistentVolumeName=source.get("persistentVolumeName"),
                                                     InlineVolumeSpec=source.get("inlineVolumeSpec")),
                                 NodeName=new.get("nodeName", ""))
            errors.append(field.invalid(_SPEC, shown, check.IMMUTABLE))
        return errors


def _source(source: Object, path: Path) -> Errors:
    inline, persistent = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if (inline is None) == (persistent is None):
        return [field.required(path, _ONE_SOURCE)] if inline is None else [field.forbidden(path, _ONE_SOURCE)]
    if persistent is not None:
        at_name = path.child("persistentVolumeName")
        return check.named(name.subdomain, persistent, at_name) if persistent else \
            [field.required(at_name, "must specify non empty persistentVolumeName")]
    return inline_volume_spec(inline or {}, path.child("inlineVolumeSpec"))


def _status(status: Object) -> Errors:
    metadata = status.get("attachmentMetadata") or {}
    errors: Errors = []
    if sum(len(key.encode()) + len(text.encode()) for key, text in metadata.items()) > _MAX_METADATA:
        errors.append(field.too_long(Path("status.attachmentMetadata"), _MAX_METADATA))
    for key in ("attachError", "detachError"):
        problem, path = status.get(key) or {}, Path("status").child(key)
        if len(problem.get("message", "").encode()) > 1024:
            errors.append(field.too_long(path.child("message"), _MAX_METADATA))  # upstream names that limit here, too
        if (problem.get("errorCode") or 0) < 0:
            errors.append(field.invalid(path.child("errorCode"), problem["errorCode"], name.range_error(0, check.MAX_INT32)))
    return errors


KIND = Kind(
    VOLUME_ATTACHMENTS,
    "volumeattachment",
    VolumeAttachmentStrategy(),
    columns=(
        NAME,
        column("Attacher", "string", "=storage.v1.VolumeAttachmentSpec.attacher", lambda obj: at(obj, "spec.attacher", ""), format="name"),
        column("PV", "string", "=storage.v1.VolumeAttachmentSource.persistentVolumeName",
               lambda obj: at(obj, "spec.source.persistentVolumeName", "")),
        column("Node", "string", "=storage.v1.VolumeAttachmentSpec.nodeName", lambda obj: at(obj, "spec.nodeName", "")),
        column("Attached", "boolean", "=storage.v1.VolumeAttachmentStatus.attached", lambda obj: bool(at(obj, "status.attached"))),
        AGE,
    ),
    subresources=(STATUS,),
)
