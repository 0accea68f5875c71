"""Records requests by the audit policy: between authentication and everything that may change or refuse them."""
from __future__ import annotations

from typing import Any

from kubepy.api.errors import ApiError
from kubepy.apiserver.audit.event import Record
from kubepy.apiserver.exchange import MAX_BODY, Exchange
from kubepy.apiserver.filters.time import is_long_running
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send


class AuditFilter:
    def __init__(self, server: Server, app: App) -> None:
        self._app = app
        self._auditor = server.auditor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        record = self._auditor.begin(exchange, exchange.user) if self._auditor is not None else None
        if record is None or self._auditor is None:
            await self._app(scope, receive, send)
            return
        long = is_long_running(exchange)
        self._listen(exchange, record, long)
        try:
            await self._app(scope, receive, exchange.send)
        except ApiError as error:
            record.code, record.status = error.code, error.status()
            raise
        except ConnectionResetError:
            raise
        except Exception:
            record.code = 500
            self._auditor.tell(record, "Panic")
            raise
        finally:
            exchange.receive, exchange.send = receive, send
            record.code = record.code or exchange.status
            self._auditor.tell(record, "ResponseComplete")

    def _listen(self, exchange: Exchange, record: Record, long: bool) -> None:
        """Keeps what passes by, where the policy wants it."""
        receive, send, auditor = exchange.receive, exchange.send, self._auditor
        assert auditor is not None

        async def listening_receive() -> Any:
            message = await receive()
            if len(record.sent) <= MAX_BODY:
                record.sent += message.get("body", b"")
            return message

        async def listening_send(message: Any) -> None:
            if message["type"] == "http.response.start":
                record.code = message["status"]
                record.answer_encoding = next((value for name, value in message["headers"] if name.lower() == b"content-encoding"), b"")
                if long:
                    auditor.tell(record, "ResponseStarted")
            elif record.wanted.response and not long and len(record.answered) <= 4 * MAX_BODY:
                record.answered += message.get("body", b"")
            await send(message)

        if record.wanted.request and not long:
            exchange.receive = listening_receive
        exchange.send = listening_send
