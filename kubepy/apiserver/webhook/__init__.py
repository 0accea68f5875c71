"""Outgoing calls to webhooks (admission, conversion, authentication, authorization): where they are and how they are asked.

    reply = await caller.review(client_config, review, seconds=10)
"""
from kubepy.apiserver.webhook.call import Caller, CallError
from kubepy.apiserver.webhook.endpoint import Backend, Unresolved, resolve_service

__all__ = ["Backend", "CallError", "Caller", "Unresolved", "resolve_service"]
