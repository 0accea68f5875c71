"""Jobs with `ttlSecondsAfterFinished` go that long after their end (`pkg/controller/ttlafterfinished`)."""
from __future__ import annotations

from kubepy.api.errors import NotFound
from kubepy.api.resource import JOBS
from kubepy.api.types import Object
from kubepy.base.clock import parse_time
from kubepy.base.metrics import exponential, histogram
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.kit.environment import Environment

DELETED = histogram("ttl_after_finished_controller_job_deletion_duration_seconds",
                    "The time it took to delete the job since it became eligible for deletion", (), exponential(0.1, 2, 14))


def expires_at(job: Object) -> float | None:
    """Epoch seconds; None for a Job that runs, stays, or is going already."""
    seconds = job["spec"].get("ttlSecondsAfterFinished")
    if seconds is None or job["metadata"].get("deletionTimestamp") is not None:
        return None
    for item in (job.get("status") or {}).get("conditions") or ():
        if item["type"] in ("Complete", "Failed") and item["status"] == "True":
            return float(parse_time(item["lastTransitionTime"]) + seconds)
    return None


def controller(env: Environment) -> Controller:
    client = env.client_for("ttl-after-finished-controller")
    jobs = env.informers.informer(JOBS).lister

    async def reconcile(key: str) -> float | None:
        namespace, name = split_key(key)
        cached = jobs.get(name, namespace)
        moment = expires_at(cached) if cached is not None else None
        if moment is None:
            return None
        if (wait := moment - env.clock.now()) > 0:
            return wait
        try:
            fresh = await client.get(JOBS, name, namespace)  # the time may have been raised just now
            moment = expires_at(fresh)
            if moment is not None and moment <= env.clock.now():
                metadata = fresh["metadata"]
                await client.delete(JOBS, name, namespace, propagation="Foreground", uid=metadata["uid"],
                                    resource_version=metadata["resourceVersion"])
                DELETED.observe(max(env.clock.now() - moment, 0.0))
        except NotFound:
            return None
        return None

    return Controller("ttl_jobs_to_delete", reconcile, (Watch(JOBS),), workers=env.options.concurrency("ttl-after-finished", 5))
