"""Answers refusals as a Status, and what nobody expected as an internal error, so that no request takes the server down."""
from __future__ import annotations

from kubepy.api.errors import ApiError, InternalError
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.metric import record
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send
from kubepy.base.log import get_logger

log = get_logger("apiserver")


class ErrorFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        self.clock = server.clock
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        began = self.clock.monotonic()
        code = 200
        try:
            await self.app(scope, receive, send)
        except ApiError as error:
            code = error.code
            if exchange.started:
                log.error("Refused after the answer had begun", error, method=scope["method"], path=scope["path"])
                raise
            await exchange.answer_error(error)
        except ConnectionResetError:
            code = 499
            raise
        except Exception as error:
            code = 500
            log.error("Request failed unexpectedly", error, method=scope["method"], path=scope["path"], auditID=exchange.audit_id.decode())
            if exchange.started:
                raise
            await exchange.answer_error(InternalError.of(f"{type(error).__name__} while serving the request"))
        finally:
            record(exchange, exchange.status or code, self.clock.monotonic() - began, self.server.kinds.by_path)
