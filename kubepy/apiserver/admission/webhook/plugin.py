"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook (`k8s.io/apiserver/pkg/admission/plugin/webhook`).

Mutating webhooks are asked one after the other, each about what the ones before it left; validating ones all at once. When a webhook
changed something, the chain runs once more, and then those with reinvocationPolicy IfNeeded that had been asked before the change.
"""
from __future__ import annotations

import asyncio
import uuid
from typing import Literal

import orjson

from kubepy.api.cel.function.authorization import Answers
from kubepy.api.errors import BadRequest, InternalError
from kubepy.api.patch.json import BadJsonPatch, JsonPatchError, apply_json_patch, check_json_patch
from kubepy.api.resource import Resource
from kubepy.apiserver.admission import match
from kubepy.apiserver.admission.authorization import answered
from kubepy.apiserver.admission.condition import ConditionsFailed, hold
from kubepy.apiserver.admission.expression import values_of
from kubepy.apiserver.admission.interface import Plugin, refuse
from kubepy.apiserver.admission.namespace import namespace_object
from kubepy.apiserver.admission.reinvocation import Invocations
from kubepy.apiserver.admission.settle import settle
from kubepy.apiserver.admission.view import View
from kubepy.apiserver.admission.webhook import review
from kubepy.apiserver.admission.webhook.metric import CONDITION_ERRORS, CONDITION_EXCLUSIONS, FAIL_OPEN, REJECTIONS, REQUESTS, SECONDS
from kubepy.apiserver.admission.webhook.source import MUTATING, VALIDATING, Hook, Source
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.webhook import Caller, CallError
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks

log = get_logger("webhook")


class _Failed(Exception):
    """The webhook could not be asked or gave no usable answer: what its failure policy is for."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class _Webhooks(Plugin):
    resource: Resource
    type: Literal["admit", "validating"]

    def start(self, tasks: Tasks) -> None:
        self.source = Source(self.services.store(self.resource))
        assert self.services.webhooks is not None
        self.caller: Caller = self.services.webhooks
        tasks.keep(self.source.feed.run, self.name, maximum=5.0)

    async def ready(self) -> None:
        await self.source.feed.ready.wait()

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return not match.is_exempt(resource)

    async def _wanted(self, hook: Hook, attributes: Attributes) -> View | None:
        """How the webhook is to see the request, None when it does not concern it. Raises ApiError."""
        resource = await hook.selection.resource(self.services, attributes)
        if resource is None:
            return None
        view = View(self.services, attributes, resource)
        if hook.conditions:
            title = (hook.name, "webhook", self.type, attributes.operation)
            try:
                if not await self._conditions_hold(hook, view):
                    CONDITION_EXCLUSIONS.labels(*title).inc()
                    return None
            except ConditionsFailed as error:
                CONDITION_ERRORS.labels(*title).inc()
                if hook.ignore:
                    log.warning("A webhook's match conditions cannot be evaluated and it is not asked", webhook=hook.name, err=str(error))
                    return None
                raise refuse(attributes, str(error)) from error
        return view

    async def _conditions_hold(self, hook: Hook, view: View) -> bool:
        attributes = view.attributes
        answers: Answers = {}
        values = values_of(view, answers, await namespace_object(self.services, attributes))
        return await answered(self.services, attributes.context.user, answers, lambda: hold(hook.conditions, values),
                              large=view.large)

    async def _ask(self, hook: Hook, view: View) -> review.Verdict:
        """Raises _Failed and ApiError."""
        if view.attributes.context.dry_run and not hook.dry:
            raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
        uid = str(uuid.uuid4())
        try:
            version = review.version_for(hook.versions)
            told = review.build(view, uid, version)
        except CallError as error:
            raise _Failed(f'failed calling webhook "{hook.name}": {error}') from error
        try:
            reply = await self.caller.review(hook.client, told, seconds=hook.seconds)
        except CallError as error:
            raise _Failed(f'failed calling webhook "{hook.name}": failed to call webhook: {error}', error.code) from error
        try:
            verdict = review.read(reply, uid, version, mutating=self.type == "admit")
        except CallError as error:
            raise _Failed(f'failed calling webhook "{hook.name}": received invalid webhook response: {error}', 200) from error
        context = view.attributes.context
        for text in verdict.warnings:
            context.warn(text)
        for key, value in verdict.annotations.items():
            context.audit_annotations[f"{hook.name}/{key}"] = value
        return verdict

    async def _dispatch(self, hook: Hook, view: View, number: str) -> review.Verdict | None:
        """The verdict of an allowing webhook, None where its failure is ignored. Counts; raises ApiError to refuse."""
        attributes = view.attributes
        clock, operation = self.services.clock, attributes.operation
        began = clock.monotonic()
        rejected, code = "true", "200"
        try:
            verdict = await self._ask(hook, view)
            if not verdict.allowed:
                error = review.denied(hook.name, verdict.status)
                REJECTIONS.labels(hook.name, self.type, operation, "no_error", str(error.code)).inc()
                raise error
            rejected = "false"
            return verdict
        except _Failed as failure:
            code = str(failure.code or 0)
            if hook.ignore:
                rejected = "false"
                FAIL_OPEN.labels(hook.name, self.type).inc()
                kind = "mutation" if self.type == "admit" else "validating"
                attributes.context.audit_annotations[f"failed-open.{kind}.webhook.admission.k8s.io/{number}"] = hook.name
                log.warning("A webhook failed and is ignored", webhook=hook.name, err=str(failure))
                return None
            REJECTIONS.labels(hook.name, self.type, operation, "calling_webhook_error", "0").inc()
            log.warning("A webhook failed", webhook=hook.name, err=str(failure))
            raise InternalError.of(str(failure)) from failure
        finally:
            SECONDS.labels(hook.name, self.type, operation, rejected).observe(clock.monotonic() - began)
            REQUESTS.labels(hook.name, self.type, operation, code, rejected).inc()


class MutatingAdmissionWebhook(_Webhooks):
    name = "MutatingAdmissionWebhook"
    mutates = True
    resource = MUTATING
    type = "admit"

    async def admit(self, attributes: Attributes) -> None:
        if not self.source.hooks:
            return
        invocations = Invocations(attributes, self.name)
        for position, hook in enumerate(self.source.hooks):
            if invocations.skips(hook.uid):
                continue
            view = await self._wanted(hook, attributes)
            if view is None:
                continue
            number = f"round_{invocations.round}_index_{position}"
            verdict = await self._dispatch(hook, view, number)
            changed = verdict is not None and self._patch(verdict, view)
            if verdict is not None:
                self._annotate(hook, number, changed, verdict, attributes.context.audit_annotations)
            if changed:
                invocations.changed()
            invocations.asked(hook.uid, reinvoked=hook.reinvoked)
        invocations.end()

    @staticmethod
    def _annotate(hook: Hook, number: str, changed: bool, verdict: review.Verdict, annotations: dict[str, str]) -> None:
        shown = {"configuration": hook.configuration, "webhook": hook.name}
        annotations[f"mutation.webhook.admission.k8s.io/{number}"] = orjson.dumps({**shown, "mutated": changed}).decode()
        if changed:
            patch = {**shown, "patch": orjson.Fragment(verdict.patch), "patchType": "JSONPatch"}
            annotations[f"patch.webhook.admission.k8s.io/{number}"] = orjson.dumps(patch).decode()

    @staticmethod
    def _patch(verdict: review.Verdict, view: View) -> bool:
        """Whether the patch changed the object; raises InternalError when it does not apply."""
        if not verdict.patch:
            return False
        if view.obj is None:
            raise InternalError.of("admission webhook attempted to modify the object, which is not supported for this operation")
        try:
            operations = check_json_patch(orjson.loads(verdict.patch))
            patched = apply_json_patch(view.obj, operations) if operations else view.obj
        except (orjson.JSONDecodeError, BadJsonPatch, JsonPatchError) as error:
            raise InternalError.of(str(error)) from error
        if patched is view.obj:
            return False
        if not isinstance(patched, dict):
            raise InternalError.of("json: cannot unmarshal the patched value into an object")
        changed = settle(patched, view)
        if changed == view.obj:
            return False
        view.keep(changed)
        return True


class ValidatingAdmissionWebhook(_Webhooks):
    name = "ValidatingAdmissionWebhook"
    validates = True
    resource = VALIDATING
    type = "validating"

    async def admit_valid(self, attributes: Attributes) -> None:
        if not self.source.hooks:
            return
        wanted: list[tuple[Hook, View, str]] = []
        for position, hook in enumerate(self.source.hooks):
            view = await self._wanted(hook, attributes)
            if view is not None:
                wanted.append((hook, view, f"round_0_index_{position}"))
        if len(wanted) == 1:
            await self._dispatch(*wanted[0])
            return
        results = await asyncio.gather(*(self._dispatch(*one) for one in wanted), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
