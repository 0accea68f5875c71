"""The table of kinds that declare no columns of their own: their name and when they were made."""
from __future__ import annotations

from kubepy.apiserver.registry.kind import Column

NAME_TEXT = ("Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to "
             "request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and "
             "configuration definition. Cannot be updated. More info: "
             "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names")
CREATED_TEXT = ("CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be "
                "set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form "
                "and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
                "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata")

DEFAULT_COLUMNS = (
    Column("Name", "string", NAME_TEXT, lambda obj, now: obj["metadata"].get("name", ""), "name"),
    Column("Created At", "date", CREATED_TEXT, lambda obj, now: obj["metadata"].get("creationTimestamp")),
)
