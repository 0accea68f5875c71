"""A pod's life: which event leads where, and what is to be done."""
from __future__ import annotations

import pytest

from kubepy.kubelet.pod.life import Action, Asked, Broke, Done, End, Event, Interrupted, Life, Stirred, Tick, step

NOW = 100.0
SYNCING = Life(busy=True)
TERMINATING = Life("terminating", ending=True, busy=True)

CASES: dict[str, tuple[Life, Event, Life, Action | None]] = {
    "a pod is looked at at once": (Life(), Tick(), Life(busy=True), "sync"),
    "one that is given up from the start only ends": (
        Life(ending=True, failed=("OutOfcpu", "x")), Tick(),
        Life("terminating", True, failed=("OutOfcpu", "x"), busy=True, due=NOW, deaf=NOW), "terminate"),
    "after a look it rests": (SYNCING, Done(60.0), Life(due=160.0, deaf=NOW), None),
    "unless there were news meanwhile": (Life(busy=True, stirred=True), Done(60.0), Life(busy=True, due=NOW, deaf=NOW), "sync"),
    "news during a look are kept": (SYNCING, Stirred(), Life(busy=True, stirred=True), None),
    "news end the rest": (Life(due=160.0), Stirred(), Life(busy=True, due=NOW), "sync"),
    "time ends the rest": (Life(due=99.0), Tick(), Life(busy=True, due=99.0), "sync"),
    "time that has not come does not": (Life(due=101.0), Tick(), Life(due=101.0), None),
    "what failed is tried again later": (SYNCING, Broke(), Life(failures=1, due=101.0, deaf=101.0), None),
    "and later still": (Life(busy=True, failures=3), Broke(), Life(failures=4, due=108.0, deaf=101.0), None),
    "but never later than ten seconds": (Life(busy=True, failures=9), Broke(), Life(failures=10, due=110.0, deaf=101.0), None),
    "news within the first second after a failure wait": (Life(failures=2, due=102.0, deaf=101.0), Stirred(),
                                                          Life(failures=2, due=101.0, deaf=101.0), None),
    "news after it do not": (Life(failures=2, due=102.0, deaf=99.0), Stirred(), Life(failures=2, busy=True, due=NOW, deaf=99.0), "sync"),
    "somebody asks for something else: failures are forgotten": (
        Life(failures=5, due=110.0), Asked(), Life(busy=True, due=NOW), "sync"),
    "an end interrupts a look": (SYNCING, End(5), Life(busy=True, ending=True, grace=5), "interrupt"),
    "and ends what rests at once": (Life(due=160.0), End(5), Life("terminating", True, 5, busy=True, due=NOW, deaf=NOW), "terminate"),
    "the interrupted look goes over into the end": (
        Life(busy=True, ending=True, grace=5), Interrupted(), Life("terminating", True, 5, busy=True, due=NOW, deaf=NOW), "terminate"),
    "an end that was asked for twice interrupts once": (Life(busy=True, ending=True, grace=5), End(5),
                                                        Life(busy=True, ending=True, grace=5), None),
    "a shorter grace interrupts the end": (
        Life("terminating", True, 30, busy=True), End(0), Life("terminating", True, 0, busy=True), "interrupt"),
    "a longer one changes nothing": (Life("terminating", True, 5, busy=True), End(30), Life("terminating", True, 5, busy=True), None),
    "the end with a shorter grace begins anew": (
        Life("terminating", True, 0, busy=True), Interrupted(), Life("terminating", True, 0, due=100.05, deaf=NOW), None),
    "why the kubelet ends it is said once": (
        Life("terminating", True, failed=("Evicted", "x"), busy=True), End(failed=("Terminated", "y")),
        Life("terminating", True, failed=("Evicted", "x"), busy=True), None),
    "what does not end is tried again soon": (TERMINATING, Broke(), Life("terminating", True, failures=1, due=100.1, deaf=NOW), None),
    "once nothing runs, what it used is freed": (
        TERMINATING, Done(None), Life("terminated", True, busy=True, due=NOW, deaf=NOW), "free"),
    "then it is finished": (Life("terminated", True, busy=True), Done(None), Life("finished", True, due=NOW, deaf=NOW), None),
    "a finished pod hears nothing": (Life("finished", True), End(0), Life("finished", True), None),
}


@pytest.mark.parametrize(("life", "event", "expected", "action"), CASES.values(), ids=CASES.keys())
def test_step(life: Life, event: Event, expected: Life, action: Action | None) -> None:
    assert step(life, event, NOW) == (expected, action)
