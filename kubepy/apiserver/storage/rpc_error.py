"""How a gRPC call ended: the status codes that matter here, and where they stand in HTTP/2 headers."""
from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, ABORTED, UNAVAILABLE = 0, 1, 2, 4, 10, 14
_NAMES = ("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
          "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
          "UNAUTHENTICATED")


class RpcError(Exception):
    """The end of a call. Code 0: it ended well."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details

    @property
    def name(self) -> str:
        return _NAMES[self.code] if 0 <= self.code < len(_NAMES) else str(self.code)


def status_of(headers: Mapping[bytes, bytes]) -> tuple[int, str]:
    """The code and message in the last headers of a call."""
    code = headers.get(b"grpc-status", b"")
    if not code.isdigit():
        status = headers.get(b":status", b"").decode("latin-1")
        if status in ("", "200"):
            return UNKNOWN, "the call ended without a status"
        return UNAVAILABLE if status in ("429", "502", "503", "504") else UNKNOWN, f"HTTP status {status} instead of gRPC"
    return int(code), unquote(headers.get(b"grpc-message", b"").decode("latin-1"))
