"""VolumeAttachment: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import VOLUME_ATTACHMENTS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class VolumeAttachmentStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    returns_deleted = True


KIND = Kind(
    VOLUME_ATTACHMENTS,
    "volumeattachment",
    VolumeAttachmentStrategy(),
    subresources=(STATUS,),
)
