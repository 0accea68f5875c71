"""What every request passes on its way in, outermost first. Each filter is a class whose instances are plain ASGI callables."""
from __future__ import annotations

from kubepy.apiserver.filters.access import AuthorizationFilter
from kubepy.apiserver.filters.audit import AuditFilter
from kubepy.apiserver.filters.browser import BrowserFilter
from kubepy.apiserver.filters.error import ErrorFilter
from kubepy.apiserver.filters.fairness import FairnessFilter
from kubepy.apiserver.filters.identity import AuthenticationFilter, ImpersonationFilter
from kubepy.apiserver.filters.info import InfoFilter
from kubepy.apiserver.filters.time import TimeoutFilter
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App

FILTERS = (
    InfoFilter, ErrorFilter, TimeoutFilter, AuthenticationFilter, AuditFilter, ImpersonationFilter, FairnessFilter, AuthorizationFilter,
)


def wrap(server: Server, app: App) -> App:
    """The application behind all filters."""
    for kind in reversed(FILTERS):
        app = kind(server, app)
    options = server.options
    return BrowserFilter(server, app) if options.cors_allowed_origins or options.strict_transport_security_directives else app
