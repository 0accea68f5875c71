"""What a status update of a Pod may say (`ValidatePodStatusUpdate`)."""
from __future__ import annotations

import ipaddress
from typing import Any

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core.pod_update import annotations_update

_STATUS = Path("status")
_OF_SYSTEM = ("PodScheduled", "Ready", "Initialized")
_LISTS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_CLAIM_WORDS = ("must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if "
                "request is empty")


def status_update(obj: Object, old: Object) -> Errors:
    """The node and the class are fixed, terminal states do not go back, addresses and claims fit the pod."""
    new, before, spec = obj.get("status") or {}, old.get("status") or {}, obj.get("spec") or {}
    errors = annotations_update(obj, old)
    for position, condition in enumerate(new.get("conditions") or ()):
        if condition.get("type") not in _OF_SYSTEM:
            errors += check.named(name.qualified, condition.get("type", ""), _STATUS.child("conditions").index(position).child("Type"))
    if spec.get("nodeName") != (old.get("spec") or {}).get("nodeName"):
        errors.append(field.forbidden(_STATUS.child("nodeName"), "may not be changed directly"))
    nominated = new.get("nominatedNodeName")
    if nominated and nominated != before.get("nominatedNodeName"):
        errors += check.named(name.subdomain, nominated, _STATUS.child("nominatedNodeName"))
    errors += check.immutable(new.get("qosClass"), before.get("qosClass"), _STATUS.child("qosClass"))
    restart, everything = spec.get("restartPolicy"), _all_may_restart(spec)
    lists = ("containers", "initContainers", "ephemeralContainers")
    for key, policy, containers in zip(_LISTS, (restart, restart, "Never"), lists, strict=True):
        if not everything or key == _LISTS[2]:
            errors += _ended(new.get(key) or [], before.get(key) or [], _STATUS.child(key), policy, spec.get(containers) or [])
    errors += _claims(new.get("resourceClaimStatuses") or [], spec)
    errors += _addresses(new.get("podIPs") or [], _STATUS.child("podIPs"))
    errors += _host_addresses(new)
    for key in _LISTS:
        errors += _users(new.get(key) or [], spec, _STATUS.child(key))
    for key, containers in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")):
        errors += _allocated(new.get(key) or [], spec.get(containers) or [], _STATUS.child(key))
    return errors + [field.forbidden(_STATUS.child(_LISTS[2]).index(position).child("allocatedResourcesStatus"),
                                     "must not be specified in container status")
                     for position, status in enumerate(new.get(_LISTS[2]) or ()) if status.get("allocatedResourcesStatus")]


def _all_may_restart(spec: Object) -> bool:
    """A container's exit may restart all of the pod's."""
    return any(rule.get("action") == "RestartAllContainers" for key in ("containers", "initContainers") for container in spec.get(key) or ()
               for rule in container.get("restartPolicyRules") or ())


def _may_run_again(container: Object, exit_code: int) -> bool:
    """By its own rules and policy, which win over the pod's."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        if (exit_code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
            return str(rule.get("action")) == "Restart"
    policy = container.get("restartPolicy")
    return bool(policy == "Always" or (policy == "OnFailure" and exit_code))


def _ended(new: list[Object], old: list[Object], path: Path, restart: Any, containers: list[Object]) -> Errors:
    """ValidateContainerStateTransition: what has ended for good does not run again."""
    if restart == "Always":
        return []
    errors: Errors = []
    by_name = {container.get("name"): container for container in containers}
    for position, status in enumerate(old):
        ended = (status.get("state") or {}).get("terminated")
        if ended is None or (restart == "OnFailure" and ended.get("exitCode")) or \
                _may_run_again(by_name.get(status.get("name"), {}), int(ended.get("exitCode") or 0)):
            continue
        errors += [field.forbidden(path.index(position).child("state"), "may not be transitioned to non-terminated state")
                   for current in new
                   if current.get("name") == status.get("name") and (current.get("state") or {}).get("terminated") is None]
    return errors


def _claims(statuses: list[Object], spec: Object) -> Errors:
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    errors: Errors = []
    seen: set[str] = set()
    for position, status in enumerate(statuses):
        at, title = _STATUS.child("resourceClaimStatuses").index(position).child("name"), status.get("name", "")
        if title not in known:
            errors.append(field.invalid(at, title, "must match the name of an entry in `spec.resourceClaims`"))
        if title in seen:
            errors.append(field.duplicate(at, title))
        seen.add(title)
        if status.get("resourceClaimName") is not None:
            errors += check.named(name.subdomain, status["resourceClaimName"], at)
    return errors


def _addresses(items: list[Object], path: Path) -> Errors:
    """Addresses of a pod: valid ones, one of a family, none twice."""
    errors: Errors = []
    families: list[int] = []
    for position, item in enumerate(items):
        try:
            families.append(ipaddress.ip_address(item.get("ip", "")).version)
        except ValueError:
            errors += check.named(name.ip, item.get("ip", ""), path.index(position))
    if len(families) == len(items) > 1 and (len(set(families)) < 2 or len(items) > 2):
        shown = [{"IP": item.get("ip", "")} for item in items]
        errors.append(field.invalid(path, shown, "may specify no more than one IP for each IP family"))
    seen: set[str] = set()
    for position, item in enumerate(items):
        if item.get("ip", "") in seen:
            errors.append(field.duplicate(path.index(position), {"IP": item.get("ip", "")}))
        seen.add(item.get("ip", ""))
    return errors


def _host_addresses(status: Object) -> Errors:
    items, path = status.get("hostIPs") or [], _STATUS.child("hostIPs")
    if not items:
        return []
    first = items[0].get("ip", "")
    errors = [] if first == status.get("hostIP", "") else [field.invalid(path.index(0).child("ip"), first, "must be equal to `hostIP`")]
    return errors + _addresses(items, path)


def _users(statuses: list[Object], spec: Object, path: Path) -> Errors:
    """Whom the containers run as: a Linux user, and that only where it can be."""
    windows = (spec.get("os") or {}).get("name") == "windows"
    errors: Errors = []
    for position, status in enumerate(statuses):
        user, at = (status.get("user") or {}).get("linux"), path.index(position).child("linux")
        if user is None:
            continue
        if windows:
            errors.append(field.forbidden(at, "cannot be set for a windows pod"))
            continue
        for key in ("uid", "gid"):
            errors += check.between(user.get(key), 0, check.MAX_INT32, at.child(key))
        for place, group in enumerate(user.get("supplementalGroups") or ()):
            errors += check.between(group, 0, check.MAX_INT32, at.child("supplementalGroups").index(place))
    return errors


def _allocated(statuses: list[Object], containers: list[Object], path: Path) -> Errors:
    """The health of what containers were given: of resources that they asked for, each once."""
    asked = {container.get("name"): container.get("resources") or {} for container in containers}
    errors: Errors = []
    for position, status in enumerate(statuses):
        wanted = asked.get(status.get("name"))
        for place, item in enumerate(status.get("allocatedResourcesStatus") or ()):
            at, title = path.index(position).child("allocatedResourcesStatus").index(place), item.get("name", "")
            if wanted is not None and title.startswith("claim:"):
                claims = {f"claim:{claim.get('name', '')}{'/' if claim.get('request') else ''}{claim.get('request', '')}"
                          for claim in wanted.get("claims") or ()}
                errors += [] if title in claims else [field.invalid(at.child("name"), title, _CLAIM_WORDS)]
            elif wanted is not None and title not in (wanted.get("requests") or {}):
                errors.append(field.invalid(at.child("name"), title, "must match one of the container's resource requests"))
            seen: set[str] = set()
            for index, resource in enumerate(item.get("resources") or ()):
                here, health = at.child("resources").index(index), resource.get("health", "")
                errors += check.one_of(health, here.child("health"), ("Healthy", "Unhealthy", "Unknown"))
                if resource.get("resourceID", "") in seen:
                    errors.append(field.duplicate(here.child("resourceID"), resource.get("resourceID", "")))
                seen.add(resource.get("resourceID", ""))
    return errors
