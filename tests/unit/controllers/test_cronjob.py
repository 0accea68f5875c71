"""CronJobs: which time is due, what concurrency allows, history."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

from kubepy.api.resource import CRON_JOBS, JOBS
from kubepy.api.types import Object
from kubepy.base.clock import format_time, parse_time
from kubepy.controllers import cronjob

NOON = parse_time("2024-03-10T12:00:30Z")


def owner(schedule: str = "0 * * * *", last: str = "", created: str = "2024-03-10T09:30:00Z", **spec: Any) -> Object:
    return {"metadata": {"name": "c", "namespace": "default", "uid": "u", "creationTimestamp": created},
            "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {}}}, **spec},
            "status": {"lastScheduleTime": last} if last else {}}


RUNNING: Object = {"metadata": {"name": "r", "uid": "r"}, "status": {}}


@pytest.mark.parametrize(("the_owner", "jobs", "run", "wait"), [
    pytest.param(owner(), [], "2024-03-10T12:00:00Z", 3570, id="of several missed times only the latest"),
    pytest.param(owner(last="2024-03-10T12:00:00Z"), [], None, 3570, id="a time that has run does not run again"),
    pytest.param(owner(suspend=True), [], None, None, id="suspended"),
    pytest.param(owner(startingDeadlineSeconds=10), [], None, 3570, id="too late"),
    pytest.param(owner(last="2024-03-10T15:00:00Z"), [], None, 14370, id="the clock went back: nothing runs until it is past its last run"),
    pytest.param(owner("*/10 * * * *", last="2024-03-09T12:00:00Z"), [], "2024-03-10T12:00:00Z", 570,
                 id="the clock went a day ahead: one run makes up for all"),
    pytest.param(owner(last="2024-03-09T12:00:00Z", startingDeadlineSeconds=60), [], "2024-03-10T12:00:00Z", 3570,
                 id="the clock went a day ahead: only what is within the deadline counts"),
    pytest.param(owner("30 * * * *", last="2024-03-09T12:00:00Z", startingDeadlineSeconds=60), [], None, 1770,
                 id="the clock went a day ahead: nothing is within the deadline"),
    pytest.param(owner(concurrencyPolicy="Forbid"), [RUNNING], None, 3570, id="another one runs and forbids it"),
    pytest.param(owner(concurrencyPolicy="Replace"), [RUNNING], "2024-03-10T12:00:00Z", 3570, id="another one runs and is replaced"),
    pytest.param(owner("30 13 * * *", timeZone="Europe/Berlin", created="2024-03-09T09:00:00Z"), [], "2024-03-09T12:30:00Z", 1770,
                 id="in its time zone"),
    pytest.param(owner("* * * * *", created="2020-01-01T00:00:00Z"), [], "2024-03-10T12:00:00Z", 30, id="years asleep"),
    pytest.param(owner("@every 1h30m", created="2024-03-10T09:30:10Z"), [], "2024-03-10T11:00:10Z", 1780, id="every hour and a half"),
    pytest.param(owner("@every 1h30m", last="2024-03-10T11:00:10Z"), [], None, 1780, id="counted from the last run"),
    pytest.param(owner("@every 1h30m", created="2024-03-10T09:30:10Z", startingDeadlineSeconds=7200), [], "2024-03-10T11:00:10Z", 1780,
                 id="every so often within a deadline"),
])
def test_plan(the_owner: Object, jobs: list[Object], run: str | None, wait: float | None) -> None:
    found = cronjob.plan(the_owner, jobs, NOON)
    assert (format_time(found.run) if found.run is not None else None) == run
    assert found.wait == wait


@pytest.mark.parametrize(("schedule", "zone", "start", "expected"), [
    pytest.param("30 2 * * *", "Europe/Berlin", "2024-03-30T12:00:00Z", ["2024-04-01T00:30:00Z", "2024-04-02T00:30:00Z"],
                 id="a time that summer time leaves out is left out"),
    pytest.param("30 2 31 3 *", "Europe/Berlin", "2023-04-01T00:00:00Z", ["2025-03-31T00:30:00Z"], id="in a year's time, too"),
    pytest.param("0 * * * *", "Europe/Berlin", "2024-03-31T00:30:00Z", ["2024-03-31T01:00:00Z", "2024-03-31T02:00:00Z"],
                 id="every hour is every hour"),
    pytest.param("30 2 * * *", "Europe/Berlin", "2024-10-26T12:00:00Z", ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z"],
                 id="a time that comes twice is run twice"),
    pytest.param("@daily", "America/Sao_Paulo", "2018-11-03T12:00:00Z", ["2018-11-05T02:00:00Z"], id="a day without a midnight"),
])
def test_times_across_a_change_of_the_clocks(schedule: str, zone: str, start: str, expected: list[str]) -> None:
    found, moment = [], parse_time(start)
    for _ in expected:
        _, moment, _ = cronjob.times(owner(schedule, format_time(moment), timeZone=zone), moment)
        found.append(format_time(moment))
    assert found == expected


@pytest.mark.parametrize(("zone", "stamp"), [
    (None, "2024-03-10T12:00:00Z"), ("Europe/Berlin", "2024-03-10T13:00:00+01:00"), ("Europe/London", "2024-03-10T12:00:00Z")])
def test_a_job_says_for_which_time_it_is(zone: str | None, stamp: str) -> None:
    job = cronjob.build_job(owner(**({"timeZone": zone} if zone else {})), parse_time("2024-03-10T12:00:00Z"))
    assert job["metadata"]["annotations"][cronjob.TIMESTAMP] == stamp


@pytest.mark.parametrize(("spec", "reason", "message"), [
    pytest.param({"schedule": "nonsense"}, "UnparseableSchedule", 'unparseable schedule: "nonsense" : ', id="schedule"),
    pytest.param({"timeZone": "Mars/X"}, "UnknownTimeZone", 'invalid timeZone: "Mars/X": unknown time zone Mars/X', id="zone"),
])
def test_what_cannot_be_read_is_said(spec: Object, reason: str, message: str) -> None:
    with pytest.raises(cronjob.BadSchedule) as found:
        cronjob.plan(owner(**spec), [], NOON)
    assert (found.value.reason, str(found.value).startswith(message)) == (reason, True)


async def test_a_job_is_started_each_minute_and_history_kept_short() -> None:
    async with Rig(cronjob.controller) as rig:
        body = owner("* * * * *", successfulJobsHistoryLimit=2)
        del body["metadata"]["uid"]
        await rig.client.create(CRON_JOBS, body)
        for _ in range(5):
            await rig.settle(60)
            for job in rig.client.all(JOBS):
                if not job.get("status"):
                    await rig.client.patch(JOBS, job["metadata"]["name"], {"status": {
                        "startTime": rig.now(), "completionTime": rig.now(),
                        "conditions": [{"type": "Complete", "status": "True"}]}}, "default", subresource="status")
        await rig.settle()
        jobs = rig.client.all(JOBS)
        assert len(jobs) == 2
        status = rig.client.all(CRON_JOBS)[0]["status"]
        assert "active" not in status
        assert status["lastSuccessfulTime"]
        minute = int(parse_time(status["lastScheduleTime"])) // 60
        assert jobs[-1]["metadata"]["name"] == f"c-{minute}"
