"""Questions that expressions ask of the authorizer: evaluation stops at one, it is answered, and evaluation starts anew.

Evaluation itself cannot wait. Two checks fit into an expression's budget, so it starts anew a few times at most.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from kubepy.api.cel.function.authorization import Answer, Answers, Question, Unanswered
from kubepy.api.errors import ApiError
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.request import User
from kubepy.apiserver.services import Services

T = TypeVar("T")


async def answered(services: Services, user: User, answers: Answers, evaluate: Callable[[], T], *, large: bool = False) -> T:
    """What `evaluate` gives once all its questions are answered. What may take long (`large`) is done beside other requests."""
    while True:
        try:
            return await asyncio.to_thread(evaluate) if large else evaluate()
        except Unanswered as need:
            answers[need.question] = await _ask(services, user, need.question)


async def _ask(services: Services, user: User, question: Question) -> Answer:
    if question.user:
        namespace = question.user.split(":")[2]
        user = User(question.user, groups=("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"))
    if question.path:
        access = Access(user, question.verb, path=question.path, is_resource=False)
    else:
        access = Access(user, question.verb, question.group, question.version, question.resource, question.subresource,
                        question.namespace, question.name, field_selector=question.field_selector,
                        label_selector=question.label_selector)
    if services.authorizer is None:
        return Answer(True)
    try:
        decision = await services.authorizer.authorize(access)
    except ApiError as error:
        return Answer(False, error=error.message)
    return Answer(decision.allowed, decision.reason)
