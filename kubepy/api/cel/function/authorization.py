"""`authorizer`: what the requester may do besides (`library/authz.go`).

A check is a question; the answers are known beforehand or `Unanswered` ends the evaluation, the caller asks, and evaluates again.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.frame import Halt
from kubepy.api.cel.value import EvaluationError, Opaque


class Question(NamedTuple):
    """`user` is "" for the requester, else a service account's name; `path` for requests of no resource."""

    user: str = ""
    verb: str = ""
    path: str = ""
    group: str = ""
    version: str = "*"
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


class Answer(NamedTuple):
    allowed: bool
    reason: str = ""
    error: str = ""


class Unanswered(Halt):
    """The answer to a question is not known yet."""

    def __init__(self, question: Question) -> None:
        super().__init__(str(question))
        self.question = question


Answers = dict[Question, Answer]


class Authorizer(Opaque):
    """`value` is the question so far and the answers known."""

    kind = "kubernetes.authorization.Authorizer"
    __slots__ = ("answers", "question")

    def __init__(self, answers: Answers, question: Question = Question()) -> None:  # noqa: B008
        super().__init__((question, id(answers)))
        self.answers = answers
        self.question = question

    def asking(self, target: type[Authorizer], **parts: str) -> Authorizer:
        return target(self.answers, self.question._replace(**parts))


class PathCheck(Authorizer):
    kind = "kubernetes.authorization.PathCheck"


class GroupCheck(Authorizer):
    kind = "kubernetes.authorization.GroupCheck"


class ResourceCheck(Authorizer):
    kind = "kubernetes.authorization.ResourceCheck"


class Decision(Opaque):
    """`value` is an Answer."""

    kind = "kubernetes.authorization.Decision"
    __slots__ = ()


def _check(item: Authorizer, verb: str) -> Decision:
    question = item.question._replace(verb=verb)
    found = item.answers.get(question)
    if found is None:
        raise Unanswered(question)
    return Decision(found)


def _service_account(item: Authorizer, namespace: str, name: str) -> Authorizer:
    from kubepy.api import name as names

    complaints = [*(f"Invalid service account name \"{name}\": {text}" for text in names.subdomain(name)[:1]),
                  *(f"Invalid service account namespace \"{namespace}\": {text}" for text in names.label(namespace)[:1])]
    if complaints:
        raise EvaluationError(complaints[0])
    return item.asking(Authorizer, user=f"system:serviceaccount:{namespace}:{name}")


def _part(name: str) -> Callable[[Authorizer, str], Authorizer]:
    return lambda item, value: item.asking(ResourceCheck, **{name: value})


def declare(to: Declarations) -> None:
    root, path, group, resource, decision = Authorizer.kind, PathCheck.kind, GroupCheck.kind, ResourceCheck.kind, Decision.kind
    to.add(f"{root}::path(string) {path}", _path)
    to.add(f"{root}::group(string) {group}", lambda item, value: item.asking(GroupCheck, group=value))
    to.add(f"{root}::serviceAccount(string,string) {root}", _service_account)
    to.add(f"{group}::resource(string) {resource}", _part("resource"))
    to.add(f"{resource}::subresource(string) {resource}", _part("subresource"))
    to.add(f"{resource}::namespace(string) {resource}", _part("namespace"))
    to.add(f"{resource}::name(string) {resource}", _part("name"))
    to.add(f"{resource}::fieldSelector(string) {resource}", _part("field_selector"))
    to.add(f"{resource}::labelSelector(string) {resource}", _part("label_selector"))
    to.add(f"{path}::check(string) {decision}", _check)
    to.add(f"{resource}::check(string) {decision}", _check)
    to.add(f"{decision}::allowed() bool", lambda item: item.value.allowed)
    to.add(f"{decision}::reason() string", lambda item: item.value.reason)
    to.add(f"{decision}::errored() bool", lambda item: bool(item.value.error))
    to.add(f"{decision}::error() string", lambda item: item.value.error)


def _path(item: Authorizer, value: str) -> Any:
    if not value:
        raise EvaluationError("path must not be empty")
    return item.asking(PathCheck, path=value)
