"""A pod's life as a state machine: events in, the next action out. Pure: no clock, no I/O; times are monotonic seconds.

    running ──▶ terminating ──▶ terminated ──▶ finished
     sync         terminate        free
    (again and    (until nothing   (until volumes and
     again)        runs)            cgroup are gone)

One action is under way at a time. Its end an event again; an action that must not go on is interrupted, and its interruption is heard
before anything else begins. What failed is tried again after a growing delay; news do not shorten the first second of it, so that a
failure that makes news does not feed itself.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Stage = Literal["running", "terminating", "terminated", "finished"]
Action = Literal["sync", "terminate", "free", "interrupt"]
Reason = tuple[str, str]
_RETRY = 10.0
_ACTIONS: dict[Stage, Action] = {"running": "sync", "terminating": "terminate", "terminated": "free"}
_NEXT: dict[Stage, Stage] = {"terminating": "terminated", "terminated": "finished"}


@dataclass(frozen=True, slots=True)
class Life:
    stage: Stage = "running"
    ending: bool = False
    grace: int | None = None
    """Seconds the pod is given to end, when somebody has said so."""
    failed: Reason | None = None
    """(reason, message) once the kubelet itself has given the pod up."""
    busy: bool = False
    stirred: bool = False
    """There were news while an action was under way."""
    failures: int = 0
    """In a row."""
    due: float = 0.0
    """When the next action is."""
    deaf: float = 0.0
    """Until then news do not hurry."""


@dataclass(frozen=True, slots=True)
class Stirred:
    """Something is new: the runtime, a probe, an object the pod refers to."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks for something else than before."""


@dataclass(frozen=True, slots=True)
class End:
    """The pod is to end; the shortest grace period that was given counts."""

    grace: int | None = None
    failed: Reason | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The action is done. `delay`: seconds until the next look; None when its stage is over."""

    delay: float | None


@dataclass(frozen=True, slots=True)
class Broke:
    """The action has failed."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The action was given up."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Stirred | Asked | End | Done | Broke | Interrupted | Tick


def step(life: Life, event: Event, now: float) -> tuple[Life, Action | None]:
    """What has become of the pod, and what is to be done now."""
    if life.stage == "finished":
        return life, None
    action: Action | None = None
    match event:
        case End():
            life, action = _end(life, event)
        case Asked():
            life = _stir(replace(life, failures=0), now)
        case Stirred():
            life = _stir(life, now)
        case Done(delay):
            life = _done(life, delay, now)
        case Broke():
            life = _broke(life, now)
        case Interrupted():
            life = replace(life, busy=False, stirred=False, failures=0, due=now if life.stage == "running" else now + 0.05, deaf=now)
        case Tick():
            pass
    if life.busy:
        return life, action
    if life.ending and life.stage == "running":
        life = replace(life, stage="terminating", failures=0, due=now, deaf=now, stirred=False)
    if life.stage == "finished" or life.due > now:
        return life, None
    return replace(life, busy=True, stirred=False), _ACTIONS[life.stage]


def _end(life: Life, event: End) -> tuple[Life, Action | None]:
    shorter = event.grace is not None and (life.grace is None or event.grace < life.grace)
    interrupts = life.busy and ((life.stage == "running" and not life.ending) or
                                (life.stage == "terminating" and shorter))
    life = replace(life, ending=True, grace=event.grace if shorter else life.grace, failed=life.failed or event.failed)
    return life, "interrupt" if interrupts else None


def _stir(life: Life, now: float) -> Life:
    if life.busy:
        return replace(life, stirred=True)
    return replace(life, due=min(life.due, max(now, life.deaf)))


def _done(life: Life, delay: float | None, now: float) -> Life:
    if delay is None:
        return replace(life, stage=_NEXT.get(life.stage, life.stage), busy=False, stirred=False, failures=0, due=now, deaf=now)
    return replace(life, busy=False, failures=0, due=now if life.stirred else now + delay, deaf=now)


def _broke(life: Life, now: float) -> Life:
    failures = life.failures + 1
    if life.stage != "running":
        return replace(life, busy=False, failures=failures, due=now + min(_RETRY, 0.05 * 2 ** min(failures, 10)), deaf=now)
    delay = min(_RETRY, 0.5 * 2 ** min(failures, 8))
    deaf = now + min(delay, 1.0)
    return replace(life, busy=False, failures=failures, due=deaf if life.stirred else now + delay, deaf=deaf)
