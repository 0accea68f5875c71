"""The pods of the owners of one kind: whom a pod concerns, what was asked for and not seen yet, and asking for it."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.pod import available_at, condition, controller_of, is_active, phase
from kubepy.api.resource import Resource
from kubepy.api.selector import LabelSelector, from_object
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.client.store import Store, join_key, key_of
from kubepy.controllers.kit.adoption import index_by_controller
from kubepy.controllers.kit.batch import at_once, slow_start
from kubepy.controllers.kit.expectation import Expectations
from kubepy.controllers.kit.pod_control import PodControl, is_namespace_terminating


def selector_of(owner: Object) -> LabelSelector:
    return from_object(owner["spec"].get("selector"))


def next_availability(owner: Object, pods: Sequence[Object], now: float) -> float | None:
    """Seconds until the next ready pod becomes available."""
    min_ready = owner["spec"].get("minReadySeconds") or 0
    waits = [moment - now for pod in pods if is_active(pod) and (moment := available_at(pod, min_ready)) is not None and moment > now]
    return min(waits) if waits else None


def counts_otherwise(old: Object | None, new: Object | None) -> bool:
    """Whether a change of a pod can change what its owner counts or does: whose it is, its end, its phase and readiness.

    That it has been given a node, an address or a condition of another kind does not."""
    if old is None or new is None:
        return True
    before, after = old["metadata"], new["metadata"]
    if (before.get("ownerReferences") != after.get("ownerReferences") or before.get("labels") != after.get("labels")
            or ("deletionTimestamp" in before) is not ("deletionTimestamp" in after)):
        return True
    return old.get("status") is not new.get("status") and (phase(old) != phase(new) or condition(old, "Ready") != condition(new, "Ready"))


class OwnedPods:
    """`observe` and `keys` are for the controller's watch of pods."""

    def __init__(self, resource: Resource, owners: Store, pods: Store, clock: Clock,
                 selector: Callable[[Object], LabelSelector] = selector_of) -> None:
        self._kind, self._owners, self._selector = resource.kind, owners, selector
        self.expectations = Expectations(clock)
        index_by_controller(pods)

    def keys(self, pod: Object) -> Sequence[str]:
        """A pod's controller or, for an orphan, whoever might adopt it."""
        namespace = pod["metadata"]["namespace"]
        reference = controller_of(pod)
        if reference is not None:
            return (join_key(namespace, reference["name"]),) if reference["kind"] == self._kind else ()
        if pod["metadata"].get("deletionTimestamp") is not None:
            return ()
        labels = pod["metadata"].get("labels")
        return [key_of(owner) for owner in self._owners.list(namespace) if self._selector(owner).matches(labels)] if labels else ()

    def observe(self, old: Object | None, new: Object | None) -> None:
        """Ticks off what was expected."""
        pod = new or old
        assert pod is not None
        reference = controller_of(pod)
        if reference is None or reference["kind"] != self._kind:
            return
        key = join_key(pod["metadata"]["namespace"], reference["name"])
        if new is None or new["metadata"].get("deletionTimestamp") is not None:
            self.expectations.deleted(key, key_of(pod))
        elif old is None:
            self.expectations.created(key)

    def wait(self, key: str, owner: Object, pods: Sequence[Object], now: float) -> float | None:
        """Seconds until the controller should look again by itself."""
        waits = (next_availability(owner, pods, now), self.expectations.wait(key))
        return min((item for item in waits if item is not None), default=None)

    async def act(self, control: PodControl, key: str, owner: Object, create: int, build: Callable[[int], Object],
                  delete: Sequence[Object]) -> Exception | None:
        """Creates the pods `build(0…create-1)` in slow start and deletes others; returns the first failure that is worth a retry."""
        if not create and not delete:
            return None
        self.expectations.expect(key, create, [key_of(pod) for pod in delete])

        async def make(at: int) -> None:
            await control.create(build(at), owner)

        async def remove(pod: Object) -> None:
            try:
                await control.delete(pod, owner)
            except (ApiError, ConnectionError) as error:
                self.expectations.deleted(key, key_of(pod))
                if not isinstance(error, NotFound):
                    raise

        done, errors = await slow_start(create, make)
        self.expectations.created(key, create - done)
        errors = [error for error in errors if not (isinstance(error, ApiError) and is_namespace_terminating(error))]
        errors += await at_once(delete, remove)
        return errors[0] if errors else None
