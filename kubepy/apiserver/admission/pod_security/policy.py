"""Levels and versions: which checks make a level, and what a namespace's labels ask for."""
from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.admission.pod_security.check import CHECKS, Check, Violation

LATEST = 36
"""The minor version of Kubernetes that we are."""
LEVELS = ("privileged", "baseline", "restricted")
PREFIX = "pod-security.kubernetes.io/"
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]{0,3})", re.ASCII)


class Policy(NamedTuple):
    level: str = "privileged"
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    @property
    def minor(self) -> int:
        return LATEST if self.version == "latest" else min(int(self.version.removeprefix("v1.")), LATEST)


class Policies(NamedTuple):
    enforce: Policy
    audit: Policy
    warn: Policy

    @property
    def is_open(self) -> bool:
        return all(policy.level == "privileged" for policy in self)


OPEN = Policies(Policy(), Policy(), Policy())


def read_labels(labels: Mapping[str, str], defaults: Policies = OPEN) -> tuple[Policies, Errors]:
    """What a namespace's labels ask for, `defaults` where they ask nothing; a label that cannot be read asks for the strictest."""
    errors: Errors = []
    found: dict[str, Policy] = {}
    for mode in ("enforce", "audit", "warn"):
        default: Policy = getattr(defaults, mode)
        level = labels.get(PREFIX + mode)
        version = labels.get(f"{PREFIX}{mode}-version", "latest" if level is not None else default.version)
        if level is not None and level not in LEVELS:
            errors.append(field.invalid(Path("metadata.labels").key(PREFIX + mode), level, f"must be one of {', '.join(LEVELS)}"))
            level, version = "restricted", "latest"
        elif version != "latest" and not _VERSION.fullmatch(version):
            errors.append(field.invalid(Path("metadata.labels").key(f"{PREFIX}{mode}-version"), version, 'must be "latest" or "v1.x"'))
            level, version = "restricted" if mode == "enforce" else level, "latest"
        found[mode] = Policy(level or default.level, version)
    if PREFIX + "warn" not in labels and found["enforce"].level != "privileged":
        found["warn"] = found["enforce"]
    return Policies(found["enforce"], found["audit"], found["warn"]), errors


@functools.cache
def checks_of(level: str, minor: int) -> tuple[Check, ...]:
    """The checks of a level at a version: baseline's first, each part by id."""
    if level == "privileged":
        return ()
    current: dict[str, Check] = {}
    for check in CHECKS:
        if check.since <= minor and (check.level == "baseline" or level == "restricted"):
            current[check.id] = check
    replaced = {check.replaces for check in current.values()}
    kept = [check for check in current.values() if check.id not in replaced]
    return tuple(sorted(kept, key=lambda check: (check.level, check.id)))


def evaluate(policy: Policy, metadata: Object, spec: Object) -> list[Violation]:
    """What in a pod violates the policy."""
    results = (check.run(metadata, spec) for check in checks_of(policy.level, policy.minor))
    return [violation for violation in results if violation is not None]


def is_stricter(new: Policy, old: Policy) -> bool:
    """Whether pods that the old policy allowed may violate the new one."""
    if new.level == "privileged":
        return False
    rank, old_rank = LEVELS.index(new.level), LEVELS.index(old.level)
    return rank > old_rank or (rank == old_rank and new.minor != old.minor)
