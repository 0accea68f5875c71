"""One pass over a StatefulSet: revisions, the planned steps, claims, the status."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.resource import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.kit.adoption import candidates, claim, index_by_controller
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.owned import OwnedPods
from kubepy.controllers.kit.pod_control import is_namespace_terminating
from kubepy.controllers.kit.revision import History, template_of
from kubepy.controllers.statefulset import identity, plan


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._clock = env.clock
        self._client = env.client_for("statefulset-controller")
        self._recorder = env.recorder("statefulset-controller", "statefulset-controller")
        self._sets = env.informers.informer(STATEFUL_SETS).lister
        self._pods = env.informers.informer(PODS).lister
        self._claims = env.informers.informer(PERSISTENT_VOLUME_CLAIMS).lister
        revisions = env.informers.informer(CONTROLLER_REVISIONS).lister
        index_by_controller(revisions)
        self.owned = OwnedPods(STATEFUL_SETS, self._sets, self._pods, env.clock)
        self._history = History(self._client, revisions, STATEFUL_SETS)

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        owner = self._sets.get(name, namespace)
        if owner is None:
            self.owned.expectations.forget(key)
            return None
        selector = from_object(owner["spec"].get("selector"))
        found = [pod for pod in candidates(self._pods, owner) if identity.ordinal(owner, pod) is not None]
        pods = await claim(self._client, owner, STATEFUL_SETS, selector, found, PODS)
        revisions = await self._history.owned(owner)
        update, collisions = await self._history.current(owner, revisions)
        names = {item["metadata"]["name"]: item for item in (*revisions, update)}
        update_name = update["metadata"]["name"]
        current_name = (owner.get("status") or {}).get("currentRevision") or update_name
        if current_name not in names:
            current_name = update_name
        problem: Exception | None = None
        if self.owned.expectations.satisfied(key):
            todo = plan.next_steps(owner, pods, current_name, update_name, self._clock.now())
            try:
                await self._retain(owner, pods)
                await self._complete(owner, pods)
                await self._act(key, owner, todo, names)
            except (ApiError, ConnectionError) as error:
                problem = error
        status = plan.new_status(owner, pods, current_name, update_name, self._clock.now())
        if collisions is not None:
            status["collisionCount"] = collisions
        if status != owner.get("status"):
            try:
                await self._client.update(STATEFUL_SETS, {**owner, "status": status}, subresource="status")
            except NotFound:
                return None
        if problem is not None:
            if isinstance(problem, ApiError) and is_namespace_terminating(problem):
                return None
            raise problem
        live = {plan.revision_of(pod) for pod in pods} | {current_name, update_name}
        await self._history.truncate(owner, revisions, live)
        return self.owned.wait(key, owner, pods, self._clock.now())

    async def _act(self, key: str, owner: Object, todo: plan.Plan, revisions: dict[str, Object]) -> None:
        self.owned.expectations.expect(key, len(todo.create), [key_of(pod) for pod in todo.delete])
        created = deleted = 0
        try:
            for pod in todo.delete:
                if pod in todo.recreate:
                    self._tell_ended(owner, pod)
                await self._delete(key, owner, pod)
                deleted += 1
            for number, revision in todo.create:
                await self._create(key, owner, number, revisions[revision])
                created += 1
        finally:
            self.owned.expectations.created(key, len(todo.create) - created)
            for pod in todo.delete[deleted:]:
                self.owned.expectations.deleted(key, key_of(pod))

    def _tell_ended(self, owner: Object, pod: Object) -> None:
        metadata = pod["metadata"]
        failed = (pod.get("status") or {}).get("phase") == "Failed"
        self._recorder.event(
            owner, "Warning" if failed else "Normal", "RecreatingFailedPod" if failed else "RecreatingTerminatedPod",
            f"StatefulSet {metadata['namespace']}/{owner['metadata']['name']} is recreating "
            f"{'failed' if failed else 'terminated'} Pod {metadata['name']}")

    async def _create(self, key: str, owner: Object, number: int, revision: Object) -> None:
        name = owner["metadata"]["name"]
        pod = identity.build_pod(owner, template_of(revision), number, revision["metadata"]["name"])
        pod_name = pod["metadata"]["name"]
        try:
            for wanted in identity.claims(owner, number):
                await self._ensure_claim(owner, wanted, pod_name)
            await self._client.create(PODS, pod)
        except AlreadyExists:
            self.owned.expectations.created(key)
            raise
        except ApiError as error:
            if not is_namespace_terminating(error):
                self._recorder.event(owner, "Warning", "FailedCreate",
                                     f"create Pod {pod_name} in StatefulSet {name} failed error: {error}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"create Pod {pod_name} in StatefulSet {name} successful")

    async def _complete(self, owner: Object, pods: Sequence[Object]) -> None:
        """A pod that waits gets the claims that somebody has deleted."""
        for pod in pods:
            if (pod.get("status") or {}).get("phase") == "Pending" and pod["metadata"].get("deletionTimestamp") is None:
                for wanted in identity.claims(owner, identity.ordinal(owner, pod) or 0):
                    await self._ensure_claim(owner, wanted, pod["metadata"]["name"])

    async def _ensure_claim(self, owner: Object, wanted: Object, pod: str) -> None:
        metadata = wanted["metadata"]
        if self._claims.get(metadata["name"], metadata["namespace"]) is not None:
            return
        owners = identity.claim_owners(owner, None, wanted, condemned=False)
        if owners:
            wanted = {**wanted, "metadata": {**metadata, "ownerReferences": owners}}
        name = owner["metadata"]["name"]
        try:
            await self._client.create(PERSISTENT_VOLUME_CLAIMS, wanted)
        except AlreadyExists:
            return
        except ApiError as error:
            self._recorder.event(owner, "Warning", "FailedCreate",
                                 f"create Claim {metadata['name']} for Pod {pod} in StatefulSet {name} failed error: {error}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate",
                             f"create Claim {metadata['name']} Pod {pod} in StatefulSet {name} success")

    async def _delete(self, key: str, owner: Object, pod: Object) -> None:
        metadata = pod["metadata"]
        name = owner["metadata"]["name"]
        try:
            await self._client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except NotFound:
            self.owned.expectations.deleted(key, key_of(pod))
            return
        except ApiError as error:
            self._recorder.event(owner, "Warning", "FailedDelete",
                                 f"delete Pod {metadata['name']} in StatefulSet {name} failed error: {error}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"delete Pod {metadata['name']} in StatefulSet {name} successful")

    async def _retain(self, owner: Object, pods: Sequence[Object]) -> None:
        """Keeps the claims' owners in line with the retention policy."""
        if not owner["spec"].get("volumeClaimTemplates") or not owner["spec"].get("persistentVolumeClaimRetentionPolicy"):
            return
        start = identity.first_ordinal(owner)
        wanted = range(start, start + identity.replicas(owner))
        for pod in pods:
            number = identity.ordinal(owner, pod)
            if number is None:
                continue
            for template in identity.claims(owner, number):
                metadata = template["metadata"]
                present = self._claims.get(metadata["name"], metadata["namespace"])
                if present is None:
                    continue
                if identity.has_other_controller(owner, pod, present):
                    self._recorder.event(owner, "Warning", "ConflictingController",
                                         f"PersistentVolumeClaim {metadata['name']} has a conflicting OwnerReference that acts as a "
                                         "manging controller, the retention policy is ignored for this claim")
                owners = identity.claim_owners(owner, pod, present, condemned=number not in wanted)
                if owners is not None:
                    await self._client.update(PERSISTENT_VOLUME_CLAIMS, {
                        **present, "metadata": {**present["metadata"], "ownerReferences": owners}})


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watches = (
        Watch(STATEFUL_SETS),
        Watch(PODS, keys=reconciler.owned.keys, observe=reconciler.owned.observe, owned_by="StatefulSet"),
        Watch(PERSISTENT_VOLUME_CLAIMS, keys=None),
        Watch(CONTROLLER_REVISIONS, keys=None),
    )
    return Controller("statefulset", reconciler.reconcile, watches, workers=env.options.concurrency("statefulset", 5))
