"""Renders a `State` as an nginx configuration: pure, and the same bytes for the same state."""
from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path as File

from kubepy.ingress.state import Backend, Site, State

NOT_FOUND = "default backend - 404"
"""What a request gets that no rule matches, as other controllers' default backends say it."""


@dataclass(frozen=True, slots=True)
class Options:
    """Where nginx works and listens. `directory` holds its configuration, certificates and logs."""

    directory: File
    http_port: int = 80
    https_port: int = 443
    redirect: bool = True
    """Plain requests for a site with TLS get 308 to https."""
    body_limit: str = "1m"
    """Longest request body, in nginx' notation; "0" for no limit."""
    user: str = ""
    """Whom the workers run as; empty where this process is not root."""
    ipv6: bool = True


def certificate_file(name: str) -> str:
    """The file name of a certificate (`namespace/secret`, or empty for the default one), below the directory."""
    return f"tls/{name.replace('/', '_') or 'default'}.pem"


def render(state: State, options: Options) -> str:
    """The whole configuration file."""
    parts = [_head(options)]
    parts += [_upstream(name, backend) for name, backend in sorted(state.backends.items()) if backend.endpoints]
    sites = state.sites if any(not site.host for site in state.sites) else (Site("", ()), *state.sites)
    parts += [_server(site, state, options) for site in sites]
    return "\n".join(parts) + "}\n"


def _head(options: Options) -> str:
    user = f"user {options.user};\n" if options.user else ""
    return f"""{user}worker_processes auto;
pid nginx.pid;
error_log stderr warn;
worker_shutdown_timeout 240s;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  server_tokens off;
  client_max_body_size {options.body_limit};
  client_body_temp_path tmp/body;
  proxy_temp_path tmp/proxy;
  fastcgi_temp_path tmp/fastcgi;
  uwsgi_temp_path tmp/uwsgi;
  scgi_temp_path tmp/scgi;
  server_names_hash_bucket_size 512;
  server_names_hash_max_size 4096;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:tls:10m;
  ssl_session_tickets off;
  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Request-ID $request_id;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $upstream_connection;
  proxy_connect_timeout 5s;
  proxy_read_timeout 60s;
  proxy_next_upstream error timeout;
  proxy_next_upstream_tries 3;
  map $http_upgrade $upstream_connection {{ default upgrade; '' ''; }}
"""


def _upstream(name: str, backend: Backend) -> str:
    balance = "hash $remote_addr consistent;" if backend.sticky else "random two least_conn;"
    servers = "".join(f"    server {endpoint} max_fails=0;\n" for endpoint in backend.endpoints)
    return f"  upstream {_symbol(name)} {{\n    {balance}\n{servers}    keepalive 32;\n  }}\n"


def _symbol(name: str) -> str:
    """An upstream's name from a backend's: readable, and different for different backends."""
    return f"{re.sub('[^a-z0-9-]', '-', name)}-{sha256(name.encode()).hexdigest()[:8]}"


def _server(site: Site, state: State, options: Options) -> str:
    extra = "" if site.host else " default_server"
    ports = [f"{options.http_port}{extra}", f"{options.https_port} ssl http2{extra}"]
    listens = [f"listen {port};" for port in ports] + ([f"listen [::]:{port};" for port in ports] if options.ipv6 else [])
    certificate = certificate_file(site.certificate)
    lines = [*listens, f"server_name {_server_name(site.host)};", f"ssl_certificate {certificate};", f"ssl_certificate_key {certificate};"]
    if site.tls and options.redirect:
        port = "" if options.https_port == 443 else f":{options.https_port}"
        lines.append(f'if ($scheme = http) {{ return 308 "https://$host{port}$request_uri"; }}')
    lines += _locations(site, state)
    return "  server {\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _server_name(host: str) -> str:
    """nginx' own wildcards match any number of labels, an Ingress' exactly one."""
    if not host:
        return "_"
    return f'"~^[^.]+\\.{re.escape(host[2:])}$"' if host.startswith("*.") else host


def _locations(site: Site, state: State) -> list[str]:
    lines = []
    exact = {path.path for path in site.paths if path.kind == "Exact"}
    for path in site.paths:
        action = _action(path.backend, state)
        if path.kind == "Exact":
            lines.append(f"location = {_quoted(path.path)} {{ {action} }}")
        elif path.path == "/":
            lines.append(f"location / {{ {action} }}")
        else:
            if path.path not in exact:
                lines.append(f"location = {_quoted(path.path)} {{ {action} }}")
            lines.append(f"location {_quoted(path.path + '/')} {{ {action} }}")
    if ("Prefix", "/") not in {(path.kind, path.path) for path in site.paths}:
        rest = _action(site.default, state) if site.default else f"default_type text/plain; return 404 {_quoted(NOT_FOUND)};"
        lines.append(f"location / {{ {rest} }}")
    return lines


def _action(backend: str, state: State) -> str:
    return f"proxy_pass http://{_symbol(backend)};" if state.backends[backend].endpoints else "return 503;"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
