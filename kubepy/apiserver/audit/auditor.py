"""Policy and backends of one process, from its options."""
from __future__ import annotations

import orjson

from kubepy.api.types import Object
from kubepy.apiserver.audit.event import Record
from kubepy.apiserver.audit.log import LogFile
from kubepy.apiserver.audit.policy import Policy, load
from kubepy.apiserver.audit.webhook import WebhookSink
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.options import Options
from kubepy.apiserver.request import User
from kubepy.apiserver.webhook.peer import Peer
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter
from kubepy.base.task import Tasks

log = get_logger("audit")
_EVENTS = counter("apiserver_audit_event_total", "Counter of audit events generated and sent to the audit backend.")


class Auditor:
    def __init__(self, policy: Policy, clock: Clock, file: LogFile | None, sink: WebhookSink | None) -> None:
        self._policy = policy
        self._clock = clock
        self._file, self._sink = file, sink

    def begin(self, exchange: Exchange, user: User) -> Record | None:
        """A record for a request that is to be audited; its arrival is told."""
        wanted = self._policy.evaluate(user, exchange.info)
        if wanted.level == "None":
            return None
        record = Record(exchange, wanted, self._clock.now())
        record.user = user
        self.tell(record, "RequestReceived")
        return record

    def tell(self, record: Record, stage: str) -> None:
        """Never fails: what cannot be recorded is told without its bodies."""
        if stage in record.wanted.omitted:
            return
        event = record.event(stage, self._clock.now())
        try:
            line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        except (TypeError, ValueError) as error:
            log.warning("The bodies of a request cannot be audited", auditID=event["auditID"], err=str(error))
            event = {key: value for key, value in event.items() if key not in ("requestObject", "responseObject")}
            line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        self._write(event, line)

    def _write(self, event: Object, line: bytes) -> None:
        _EVENTS.inc()
        if self._file is not None:
            try:
                self._file.write(line)
            except OSError as error:
                log.error("Cannot write the audit log", error)
        if self._sink is not None:
            self._sink.put(event)

    async def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._sink is not None:
            await self._sink.close()


def build(options: Options, clock: Clock, tasks: Tasks) -> Auditor | None:
    """None where nothing is audited. Raises OSError or ValueError for options that cannot be used."""
    if not options.audit_policy_file:
        if options.audit_log_path or options.audit_webhook_config_file:
            log.warning("No audit policy file provided, no events will be recorded")
        return None
    policy = load(options.audit_policy_file)
    file = None
    if options.audit_log_path:
        file = LogFile(options.audit_log_path, clock, max_megabytes=options.audit_log_maxsize, max_backups=options.audit_log_maxbackup,
                       max_days=options.audit_log_maxage, compress=options.audit_log_compress)
    sink = None
    if options.audit_webhook_config_file:
        sink = WebhookSink(Peer(options.audit_webhook_config_file, clock, flag="audit-webhook-config-file"),
                           size=options.audit_webhook_batch_max_size, wait=options.audit_webhook_batch_max_wait)
        tasks.keep(sink.run, "audit/webhook")
    return Auditor(policy, clock, file, sink) if file or sink else None
