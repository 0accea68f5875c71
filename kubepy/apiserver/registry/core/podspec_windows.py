"""Validation of Windows options and host process containers (`validateWindowsSecurityContextOptions`, `validateWindowsHostProcessPod`)."""
from __future__ import annotations

import re

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

_MAX_SPEC = 64
"""KiB."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NETBIOS = re.compile(r"[^\\/:*?\"<>|.][^\\/:*?\"<>|]{0,14}")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_FORBIDDEN = re.compile(r"[\"/\\:;|=,+*?<>@\[\]]")
_DOTS_AND_SPACES = re.compile(r"[. ]+")


def windows_options(options: Object | None, path: Path) -> Errors:
    if options is None:
        return []
    errors: Errors = []
    resource, spec, user = (options.get(key) for key in ("gmsaCredentialSpecName", "gmsaCredentialSpec", "runAsUserName"))
    if resource is not None:
        errors += check.named(name.subdomain, resource, path.child("gmsaCredentialSpecName"))
    if spec is not None:
        why = "gmsaCredentialSpec cannot be an empty string" if not spec else \
            f"gmsaCredentialSpec size must be under {_MAX_SPEC} KiB" if len(spec.encode()) > _MAX_SPEC * 1024 else ""
        errors += [field.invalid(path.child("gmsaCredentialSpec"), spec, why)] if why else []
    if user is not None:
        errors += [field.invalid(path.child("runAsUserName"), user, why) for why in _user_problems(user)]
    return errors


def _user_problems(text: str) -> list[str]:
    if not text:
        return ["runAsUserName cannot be an empty string"]
    if _CONTROL.search(text):
        return ["runAsUserName cannot contain control characters"]
    parts = text.split("\\")
    if len(parts) > 2:
        return ["runAsUserName cannot contain more than one backslash"]
    found: list[str] = []
    if len(parts) == 2:
        domain = parts[0]
        if len(domain) >= 256:
            found.append("runAsUserName's Domain length must be under 256 characters")
        if not _NETBIOS.fullmatch(domain) and not _DOMAIN.fullmatch(domain):
            found.append("runAsUserName's Domain doesn't match the NetBios nor the DNS format")
    user = parts[-1]
    if not user:
        found.append("runAsUserName's User cannot be empty")
    elif len(user) > 104:
        found.append("runAsUserName's User length must not be longer than 104 characters")
    if _DOTS_AND_SPACES.fullmatch(user):
        found.append("runAsUserName's User cannot contain only periods or spaces")
    if _FORBIDDEN.search(user):
        found.append("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return found


def host_process(spec: Object, path: Path) -> Errors:
    """All containers of a pod are host processes, or none; host processes need the host's network."""
    errors: Errors = []
    of_pod = ((spec.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    total = hosted = 0
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for position, container in enumerate(spec.get(key) or ()):
            total += 1
            own = ((container.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
            if of_pod is not None and own is not None and of_pod != own:
                at = path.child(key).index(position).child("securityContext", "windowsOptions", "hostProcess")
                shown = "true" if of_pod else "false"
                errors.append(field.invalid(at, own, f"pod hostProcess value must be identical if both are specified, was {shown}"))
            hosted += bool(of_pod if own is None else own)
    if hosted:
        if hosted != total:
            errors.append(field.invalid(path, "", "If pod contains any hostProcess containers then all containers must be HostProcess "
                                                  "containers"))
        if not spec.get("hostNetwork"):
            errors.append(field.invalid(path.child("hostNetwork"), False,
                                        "hostNetwork must be true if pod contains any hostProcess containers"))
    return errors
