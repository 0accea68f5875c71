"""What the API answers when it refuses: one tree of errors, each of which renders itself as a `Status`.

    ApiError                      any failure with an HTTP code and a reason
    ├─ BadRequest            400  BadRequest
    ├─ Unauthorized          401  Unauthorized
    ├─ Forbidden             403  Forbidden
    ├─ NotFound              404  NotFound
    ├─ MethodNotAllowed      405  MethodNotAllowed
    ├─ NotAcceptable         406  NotAcceptable
    ├─ AlreadyExists         409  AlreadyExists
    ├─ Conflict              409  Conflict
    ├─ Gone                  410  Gone
    ├─ Expired               410  Expired
    ├─ RequestEntityTooLarge 413  RequestEntityTooLarge
    ├─ UnsupportedMediaType  415  UnsupportedMediaType
    ├─ Invalid               422  Invalid
    ├─ TooManyRequests       429  TooManyRequests
    ├─ InternalError         500  InternalError
    ├─ ServiceUnavailable    503  ServiceUnavailable
    └─ Timeout               504  Timeout

Servers raise them; clients raise the same ones for what a server answered (`from_status`).
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.field import FieldError
from kubepy.api.resource import Resource
from kubepy.api.types import Object


class ApiError(Exception):
    """A refusal. `details` is the wire form of `metav1.StatusDetails`, or None where Kubernetes sends none."""

    code = 500
    reason = "InternalError"

    def __init__(self, message: str, details: Object | None = None, *, code: int | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if code is not None:
            self.code = code
        if reason is not None:
            self.reason = reason

    def status(self) -> Object:
        """The `v1.Status` object that is sent."""
        status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message}
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status

    @property
    def retry_after(self) -> int | None:
        """Seconds the client is asked to wait, or None."""
        value = (self.details or {}).get("retryAfterSeconds")
        return value if isinstance(value, int) else None


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"

    def __init__(self, message: str = "Unauthorized", details: Object | None = None) -> None:
        super().__init__(message, details)


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"

    @classmethod
    def of(cls, resource: Resource, name: str, why: str) -> Forbidden:
        """Upstream's NewForbidden."""
        return cls(f'{resource.group_resource} "{name}" is forbidden: {why}', _details(resource, name))


class NotFound(ApiError):
    code, reason = 404, "NotFound"

    @classmethod
    def of(cls, resource: Resource, name: str) -> NotFound:
        return cls(f'{resource.group_resource} "{name}" not found', _details(resource, name))


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"

    @classmethod
    def of(cls, resource: Resource, name: str) -> AlreadyExists:
        return cls(f'{resource.group_resource} "{name}" already exists', _details(resource, name))


class Conflict(ApiError):
    code, reason = 409, "Conflict"

    @classmethod
    def of(cls, resource: Resource, name: str, why: str) -> Conflict:
        """Upstream's NewConflict."""
        return cls(f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}', _details(resource, name))


class Gone(ApiError):
    code, reason = 410, "Gone"


class Expired(ApiError):
    """A resourceVersion or continue token that history no longer reaches; a list may be gone on with by another token."""

    code, reason = 410, "Expired"

    def __init__(self, message: str, details: Object | None = None, *, continue_token: str = "") -> None:
        super().__init__(message, details)
        self.continue_token = continue_token

    def status(self) -> Object:
        status = super().status()
        if self.continue_token:
            status["metadata"] = {"continue": self.continue_token}
        return status


class RequestEntityTooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"

    @classmethod
    def of(cls, group: str, kind: str, name: str, errors: Sequence[FieldError]) -> Invalid:
        """Upstream's NewInvalid: causes in order, and a message that aggregates the distinct ones."""
        details: Object = {"name": name} if name else {}
        if group:
            details["group"] = group
        if kind:
            details["kind"] = kind
        details["causes"] = [error.cause() for error in errors]
        texts = list(dict.fromkeys(str(error) for error in errors))
        text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        title = f"{kind}.{group}" if group else kind
        return cls(f'{title} "{name}" is invalid: {text}', details)


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"

    def __init__(self, message: str, details: Object | None = None, *, retry_after: int = 1) -> None:
        super().__init__(message, {**(details or {}), "retryAfterSeconds": retry_after})


class InternalError(ApiError):
    """Upstream's NewInternalError: the cause is in the message and the details."""

    code, reason = 500, "InternalError"

    @classmethod
    def of(cls, why: str) -> InternalError:
        return cls(f"Internal error occurred: {why}", {"causes": [{"message": why}]})


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


_BY_REASON: dict[str, type[ApiError]] = {
    kind.reason: kind
    for kind in (BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, AlreadyExists, Conflict, Gone, Expired,
                 RequestEntityTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError, ServiceUnavailable, Timeout)
}
_BY_CODE: dict[int, type[ApiError]] = {400: BadRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound, 405: MethodNotAllowed,
                                       406: NotAcceptable, 409: Conflict, 410: Gone, 413: RequestEntityTooLarge, 415: UnsupportedMediaType,
                                       422: Invalid, 429: TooManyRequests, 500: InternalError, 503: ServiceUnavailable, 504: Timeout}


def from_status(status: Object, code: int) -> ApiError:
    """The error a server's `Status` (or, for another body, its HTTP code alone) stands for."""
    reason = status.get("reason") or ""
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code, ApiError)
    error = kind.__new__(kind)
    if isinstance(error, Expired):
        error.continue_token = (status.get("metadata") or {}).get("continue") or ""
    ApiError.__init__(error, status.get("message") or f"the server answered {code}", status.get("details"),
                      code=status.get("code") or code, reason=reason)
    return error


def _details(resource: Resource, name: str) -> Object:
    details: Object = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    return details
