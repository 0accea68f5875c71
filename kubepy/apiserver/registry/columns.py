"""Building blocks of table columns: the common ones, and how cells show ages, lists, labels and selectors.

Source: `k8s.io/kubernetes/pkg/printers/internalversion` and `k8s.io/apimachinery/pkg/util/duration`.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from kubepy.api.types import Object
from kubepy.apiserver.registry.docs import doc
from kubepy.apiserver.registry.kind import Column

UNKNOWN = "<unknown>"
NONE = "<none>"
UNSET = "<unset>"


def column(name: str, type: str, description: str, cell: Callable[[Object], Any], priority: int = 0, format: str = "") -> Column:
    """A column whose cell needs no clock. A description written `=apps.v1.DeploymentStatus.replicas` is that field's."""
    return Column(name, type, _text(description), lambda obj, now: cell(obj), format, priority)


def aged(name: str, description: str, stamp: Callable[[Object], Any], priority: int = 0, missing: str = UNKNOWN) -> Column:
    """A column that shows how long ago something was."""
    return Column(name, "string", _text(description), lambda obj, now: age(stamp(obj), now, missing), "", priority)


def _text(description: str) -> str:
    return doc(description[1:]) if description.startswith("=") else description


@cache
def _split(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def at(obj: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path of an object, or the default."""
    try:
        for key in _split(path):
            obj = obj.get(key)
    except AttributeError:  # something on the way is no object
        return default
    return default if obj is None else obj


def field(path: str, default: Any = "") -> Callable[[Object], Any]:
    """A cell that shows the value at a path."""
    return lambda obj: at(obj, path, default)


def age(stamp: str | None, now: float, missing: str = UNKNOWN) -> str:
    seconds = epoch(stamp)
    return missing if seconds is None else duration(now - seconds)


def epoch(stamp: str | None) -> float | None:
    """Seconds since 1970 of a wire time."""
    if not stamp:
        return None
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def duration(seconds: float) -> str:
    """HumanDuration: two units at most, coarser the longer it is."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(big: int, unit: str, small: int, subunit: str) -> str:
    return f"{big}{unit}{small}{subunit}" if small else f"{big}{unit}"


def created(obj: Object) -> str | None:
    stamp = (obj.get("metadata") or {}).get("creationTimestamp")
    return stamp if isinstance(stamp, str) else None


NAME = column("Name", "string", "=meta.v1.ObjectMeta.name", lambda obj: (obj.get("metadata") or {}).get("name", ""), format="name")
AGE = aged("Age", "=meta.v1.ObjectMeta.creationTimestamp", created)
CREATED_AT = Column("Created At", "date", doc("meta.v1.ObjectMeta.creationTimestamp"), lambda obj, now: created(obj))
PLAIN = (NAME, CREATED_AT)
"""What kinds without a printer of their own show."""


def labels(value: Mapping[str, str] | None) -> str:
    """FormatLabels."""
    return ",".join(f"{key}={text}" for key, text in sorted((value or {}).items())) or NONE


def selector(value: Object | None, missing: str = NONE) -> str:
    """FormatLabelSelector: requirements sorted by key."""
    if value is None:
        return missing
    parts = [(key, f"{key}={text}") for key, text in (value.get("matchLabels") or {}).items()]
    for expression in value.get("matchExpressions") or ():
        key, operator = expression.get("key", ""), expression.get("operator", "")
        values = ",".join(sorted(expression.get("values") or ()))
        shown = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key, "DoesNotExist": f"!{key}"}
        parts.append((key, shown.get(operator, "<error>")))
    parts.sort(key=lambda part: part[0])
    return ",".join(text for _, text in parts) or NONE


def some(items: Iterable[str], limit: int) -> str:
    """The first ones, joined by commas, and how many more there are."""
    listed = list(items)
    if len(listed) <= limit:
        return ",".join(listed)
    return f"{','.join(listed[:limit])} + {len(listed) - limit} more..."


def containers(path: str) -> tuple[Column, Column]:
    """The Containers and Images columns of a pod template at a path."""
    def of(obj: Object) -> list[Object]:
        found = at(obj, f"{path}.spec.containers", [])
        return found if isinstance(found, list) else []

    return (
        column("Containers", "string", "Names of each container in the template.",
               lambda obj: ",".join(container.get("name", "") for container in of(obj)), 1),
        column("Images", "string", "Images referenced by each container in the template.",
               lambda obj: ",".join(container.get("image", "") for container in of(obj)), 1),
    )
