"""The API server's flags: kube-apiserver's names, with our `--workers`."""
from __future__ import annotations

import argparse
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Any

from kubepy.apiserver.feature import SWITCHABLE
from kubepy.apiserver.flags import SECTIONS
from kubepy.base.flag import boolean, unsigned_duration
from kubepy.base.gate import GateError, Gates
from kubepy.base.gate import parse as parse_gates
from kubepy.base.http.sni import Named
from kubepy.base.http.tls import CIPHERS, TLS13, VERSIONS


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _own_address() -> str:
    """The address of the interface with the default route; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


_DIRECTIVE = re.compile(r"max-age=\d+|includeSubDomains|preload")


@dataclass(slots=True)
class Options:
    etcd_servers: tuple[str, ...] = ("http://127.0.0.1:2379",)
    etcd_cafile: str = ""
    etcd_certfile: str = ""
    etcd_keyfile: str = ""
    etcd_prefix: str = "/registry"
    etcd_compaction_interval: float = 300.0
    bind_address: str = "0.0.0.0"
    secure_port: int = 6443
    advertise_address: str = ""
    external_hostname: str = ""
    tls_cert_file: str = ""
    tls_private_key_file: str = ""
    tls_sni_cert_key: tuple[str, ...] = ()
    tls_min_version: str = "VersionTLS12"
    tls_cipher_suites: tuple[str, ...] = ()
    cert_dir: str = "/var/run/kubernetes"
    client_ca_file: str = ""
    token_auth_file: str = ""
    authorization_mode: tuple[str, ...] = ("AlwaysAllow",)
    authorization_webhook_config_file: str = ""
    authentication_token_webhook_config_file: str = ""
    authentication_config: str = ""
    authorization_config: str = ""
    anonymous_auth: bool = True
    enable_bootstrap_token_auth: bool = False
    oidc_issuer_url: str = ""
    oidc_client_id: str = ""
    oidc_ca_file: str = ""
    oidc_username_claim: str = "sub"
    oidc_username_prefix: str = ""
    oidc_groups_claim: str = ""
    oidc_groups_prefix: str = ""
    oidc_required_claim: tuple[str, ...] = ()
    oidc_signing_algs: tuple[str, ...] = ("RS256",)
    service_account_issuer: tuple[str, ...] = ()
    service_account_key_file: tuple[str, ...] = ()
    service_account_signing_key_file: str = ""
    service_account_lookup: bool = True
    service_account_max_token_expiration: float = 0.0
    service_account_jwks_uri: str = ""
    service_account_extend_token_expiration: bool = True
    api_audiences: tuple[str, ...] = ()
    service_cluster_ip_range: str = "10.96.0.0/16"
    service_node_port_range: tuple[int, int] = (30000, 32767)
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    admission_control_config_file: str = ""
    runtime_config: tuple[str, ...] = ()
    feature_gates: tuple[str, ...] = ()
    kubelet_client_certificate: str = ""
    kubelet_client_key: str = ""
    kubelet_certificate_authority: str = ""
    kubelet_preferred_address_types: tuple[str, ...] = ("Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP")
    kubelet_timeout: float = 5.0
    requestheader_client_ca_file: str = ""
    requestheader_allowed_names: tuple[str, ...] = ()
    requestheader_username_headers: tuple[str, ...] = ()
    requestheader_uid_headers: tuple[str, ...] = ()
    requestheader_group_headers: tuple[str, ...] = ()
    requestheader_extra_headers_prefix: tuple[str, ...] = ()
    proxy_client_cert_file: str = ""
    proxy_client_key_file: str = ""
    enable_aggregator_routing: bool = False
    allow_privileged: bool = False
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    goaway_chance: float = 0.0
    request_timeout: float = 60.0
    min_request_timeout: int = 1800
    event_ttl: float = 3600.0
    watch_cache: bool = True
    watch_cache_sizes: tuple[str, ...] = ()
    enable_priority_and_fairness: bool = True
    encryption_provider_config: str = ""
    encryption_provider_config_automatic_reload: bool = False
    audit_log_path: str = ""
    audit_policy_file: str = ""
    audit_log_maxsize: int = 100
    audit_log_maxbackup: int = 100
    audit_log_maxage: int = 366
    audit_log_compress: bool = False
    audit_log_format: str = "json"
    audit_webhook_config_file: str = ""
    audit_webhook_batch_max_size: int = 400
    audit_webhook_batch_max_wait: float = 30.0
    authentication_token_webhook_cache_ttl: float = 120.0
    authentication_token_webhook_version: str = "v1beta1"
    authorization_webhook_version: str = "v1beta1"
    authorization_webhook_cache_authorized_ttl: float = 300.0
    authorization_webhook_cache_unauthorized_ttl: float = 30.0
    default_not_ready_toleration_seconds: int = 300
    default_unreachable_toleration_seconds: int = 300
    endpoint_reconciler_type: str = "lease"
    shutdown_delay_duration: float = 0.0
    livez_grace_period: float = 0.0
    cors_allowed_origins: tuple[str, ...] = ()
    strict_transport_security_directives: tuple[str, ...] = ()
    profiling: bool = True
    workers: int = 1
    v: int = 0
    logging_format: str = "text"

    @property
    def issuer(self) -> str:
        return self.service_account_issuer[0] if self.service_account_issuer else ""

    @property
    def audiences(self) -> tuple[str, ...]:
        """Those a token must be for; the issuers when none are given."""
        return self.api_audiences or self.service_account_issuer

    @property
    def gates(self) -> Gates:
        """Raises GateError, but not for options that passed `check`."""
        return parse_gates(self.feature_gates, SWITCHABLE)

    def check(self) -> list[str]:
        """What is wrong with the options, as sentences."""
        problems = []
        if not self.etcd_servers:
            problems.append("--etcd-servers must be specified")
        if not 1 <= self.secure_port <= 65535:
            problems.append(f"--secure-port {self.secure_port} must be between 1 and 65535, inclusive. It cannot be turned off with 0")
        for field in self.service_cluster_ip_range.split(","):
            try:
                ipaddress.ip_network(field, strict=False)
            except ValueError as error:
                problems.append(f"--service-cluster-ip-range: {error}")
        low, high = self.service_node_port_range
        if not 1 <= low <= high <= 65535:
            problems.append("--service-node-port-range must be a range of ports such as 30000-32767")
        if bool(self.tls_cert_file) != bool(self.tls_private_key_file):
            problems.append("--tls-cert-file and --tls-private-key-file must be given together")
        for text in self.tls_sni_cert_key:
            try:
                Named.parse(text)
            except ValueError as error:
                problems.append(f'invalid argument "{text}" for "--tls-sni-cert-key" flag: {error}')
        if self.tls_min_version not in VERSIONS:
            problems.append(f"--tls-min-version: unknown tls version {self.tls_min_version!r} (one of {', '.join(VERSIONS)})")
        problems += [f"--tls-cipher-suites: Cipher suite {name} not supported or doesn't exist" for name in self.tls_cipher_suites
                     if name not in CIPHERS and name not in TLS13]
        if not 0 <= self.goaway_chance <= 0.02:
            problems.append("--goaway-chance can not be less than 0 or greater than 0.02")
        if self.workers < 1:
            problems.append("--workers must be at least 1")
        problems += self._check_browsers() + self._check_security() + self._check_unsupported()
        known = {"AlwaysAllow", "AlwaysDeny", "Webhook", "RBAC", "Node"}
        problems += [f'authorization-mode "{mode}" is not a valid mode' for mode in self.authorization_mode if mode not in known]
        return problems

    def _check_browsers(self) -> list[str]:
        problems = []
        for pattern in self.cors_allowed_origins:
            reason = ""
            try:
                re.compile(pattern)
            except re.error as error:
                reason = str(error)
            else:
                if not pattern.startswith("^") and "//" not in pattern:
                    reason = "it must pin the start of the host with ^ or //"
                elif not pattern.endswith("$"):
                    reason = "it must pin the end of the host with $"
            if reason:
                problems.append(f"--cors-allowed-origins has an invalid regular expression {pattern!r}: {reason}")
        if any(not _DIRECTIVE.fullmatch(directive) for directive in self.strict_transport_security_directives):
            problems.append("--strict-transport-security-directives invalid, allowed values: max-age=expireTime, includeSubDomains, "
                            "preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more information")
        return problems

    def _check_security(self) -> list[str]:
        problems = self._check_configurations()
        if bool(self.oidc_issuer_url) != bool(self.oidc_client_id):
            problems.append("oidc-issuer-url and oidc-client-id must be specified together when any oidc flags are set")
        if self.oidc_issuer_url and not self.oidc_issuer_url.startswith("https://"):
            problems.append("--oidc-issuer-url must be an https URL")
        known = {f"{family}{bits}" for family in ("RS", "ES", "PS") for bits in ("256", "384", "512")}
        problems += [f"oidc-signing-algs: unsupported signing alg: {name}" for name in self.oidc_signing_algs if name not in known]
        problems += [f"--oidc-required-claim {claim!r} is no key=value" for claim in self.oidc_required_claim if "=" not in claim]
        if not self.authorization_config and "Webhook" in self.authorization_mode and not self.authorization_webhook_config_file:
            problems.append("authorization-mode Webhook's authorization config file not passed")
        if self.authorization_webhook_config_file and "Webhook" not in self.authorization_mode:
            problems.append("cannot specify --authorization-webhook-config-file without mode Webhook")
        for flag, value in (("authentication-token-webhook-version", self.authentication_token_webhook_version),
                            ("authorization-webhook-version", self.authorization_webhook_version)):
            if value not in ("v1", "v1beta1"):
                problems.append(f"--{flag} must be v1 or v1beta1")
        if bool(self.proxy_client_cert_file) != bool(self.proxy_client_key_file):
            problems.append("--proxy-client-cert-file and --proxy-client-key-file must be given together")
        return problems

    def _check_configurations(self) -> list[str]:
        """A configuration file and the flags it replaces are not given together."""
        defaults = Options()

        def given(prefix: str) -> bool:
            return any(getattr(self, name) != getattr(defaults, name) for name in Options.__dataclass_fields__ if name.startswith(prefix))

        problems = []
        if self.authentication_config and given("oidc_"):
            problems.append("authentication-config file and oidc-* flags are mutually exclusive")
        if self.authorization_config and (given("authorization_mode") or given("authorization_webhook_")):
            problems.append("--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are "
                            "defined")
        return problems

    def _check_unsupported(self) -> list[str]:
        """Settings that kube-apiserver has and this server does not: better no start than another behaviour than was asked for."""
        defaults = Options()
        refused = {
            "service_account_lookup": "tokens of deleted service accounts are always refused",
            "watch_cache": "every resource has its watch cache", "watch_cache_sizes": "watch caches have no sizes",
            "kubelet_timeout": "it cannot be changed", "audit_log_format": "only json is written"}
        problems = [f"--{name.replace('_', '-')} is not supported: {why}" for name, why in refused.items()
                    if getattr(self, name) != getattr(defaults, name)]
        try:
            _ = self.gates
        except GateError as error:
            problems.append(f"--feature-gates: {error}")
        try:
            from kubepy.apiserver.served import settings  # needs every kind, as the server does anyhow

            settings(self.runtime_config)
        except ValueError as error:
            problems.append(str(error))
        if self.endpoint_reconciler_type not in ("lease", "none"):
            problems.append("--endpoint-reconciler-type must be lease or none")
        return problems


def parser() -> argparse.ArgumentParser:
    """A parser with every flag of `Options`, named as in Go: --etcd-servers."""
    result = argparse.ArgumentParser(prog="kubepy apiserver", usage="kubepy apiserver [flags]", allow_abbrev=False,
                                     description="Serves the Kubernetes API from etcd.")
    for title, texts in SECTIONS.items():
        section = result.add_argument_group(title)
        for name, text in texts.items():
            section.add_argument("-v" if name == "v" else "--" + name.replace("_", "-"), help=text + _default(name), **_kind(name))
    return result


def _default(name: str) -> str:
    match getattr(Options(), name):
        case "" | ():
            return ""
        case bool(given):
            shown = str(given).lower()
        case (int(low), int(high)):
            shown = f"{low}-{high}"
        case tuple(words):
            shown = ",".join(words)
        case float(seconds) if name != "goaway_chance":
            shown = f"{seconds:g}s"
        case other:
            shown = str(other)
    return f" (default {shown})"


def _kind(name: str) -> dict[str, Any]:
    """How argparse reads a flag, from its default's type."""
    default = getattr(Options(), name)
    if name == "service_node_port_range":
        return {"type": _port_range, "default": default, "metavar": "LOW-HIGH"}
    if name == "goaway_chance":
        return {"type": float, "default": default, "metavar": "0..0.02"}
    match default:
        case bool():
            return {"type": boolean, "nargs": "?", "const": True, "default": default, "metavar": "true|false"}
        case tuple():
            return {"action": "append", "default": None, "metavar": "A,B"}
        case float():
            return {"type": unsigned_duration, "default": default, "metavar": "DURATION"}
        case _:
            return {"type": type(default), "default": default, "metavar": "NUMBER" if isinstance(default, int) else "TEXT"}


def parse(argv: list[str]) -> Options:
    """Exits with a message for what cannot be parsed."""
    arguments = parser().parse_args(argv)
    values = {}
    defaults = Options()
    for name in Options.__dataclass_fields__:
        value = getattr(arguments, name)
        if isinstance(getattr(defaults, name), tuple) and name != "service_node_port_range":
            if value is None:
                value = getattr(defaults, name)
            elif name != "tls_sni_cert_key":  # its commas are its own
                value = [word for text in value for word in _words(text)]
            value = tuple(value)
        values[name] = value
    options = Options(**values)
    if not options.advertise_address:
        bound = ipaddress.ip_address(options.bind_address)
        options.advertise_address = _own_address() if bound.is_unspecified or bound.is_loopback else options.bind_address
    return options


def _port_range(text: str) -> tuple[int, int]:
    """`30000-32767`, `30000+100` or one port, as Go's PortRange."""
    for sign in ("-", "+"):
        if sign in text:
            low, _, high = text.partition(sign)
            return int(low), int(high) if sign == "-" else int(low) + int(high)
    return int(text), int(text)
