"""Composes authentication and authorization from the server's options."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubepy.apiserver.authn.build import Authentication, AuthenticationOptions
from kubepy.apiserver.authn.build import build as build_authentication
from kubepy.apiserver.authn.configuration import Anonymous, Configuration
from kubepy.apiserver.authn.configuration import load as load_authentication
from kubepy.apiserver.authn.impersonation import Impersonation
from kubepy.apiserver.authn.interface import Authenticator, Impersonator
from kubepy.apiserver.authn.issuer import discovery_document, jwks_document
from kubepy.apiserver.authz.build import Builder, reloaded
from kubepy.apiserver.authz.build import Union as Authorizers
from kubepy.apiserver.authz.configuration import Entry, Webhook
from kubepy.apiserver.authz.configuration import load as load_authorization
from kubepy.apiserver.authz.interface import Authorizer
from kubepy.apiserver.authz.rbac import Rbac
from kubepy.apiserver.authz.webhook import WebhookAuthorizer
from kubepy.apiserver.options import Options
from kubepy.apiserver.reload import reloads
from kubepy.apiserver.services import Services
from kubepy.apiserver.webhook.peer import Peer
from kubepy.base.task import Tasks

if TYPE_CHECKING:
    from kubepy.apiserver.authn.oidc import Issuers


@dataclass(frozen=True, slots=True)
class Security:
    authenticator: Authenticator
    impersonator: Impersonator
    authorizer: Authorizer


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _discovery(options: Options, authentication: Authentication) -> dict[str, tuple[bytes, bytes]]:
    """What others verify our service-account tokens by; an issuer that is no https URL cannot be discovered."""
    issuer = options.issuer
    if not issuer.startswith("https://") or not authentication.keys:
        return {}
    host = options.external_hostname or options.advertise_address
    host = f"[{host}]" if ":" in host else host
    keys_url = options.service_account_jwks_uri or f"https://{host}:{options.secure_port}/openid/v1/jwks"
    return {"/.well-known/openid-configuration": (b"application/json", discovery_document(issuer, keys_url, authentication.keys)),
            "/openid/v1/jwks": (b"application/jwk-set+json", jwks_document(authentication.keys))}


def _configuration(options: Options, issuers: Sequence[str]) -> Configuration:
    """Who issues JWTs, from the file or from --oidc-*. Raises OSError or ValueError."""
    if options.authentication_config:
        found = load_authentication(options.authentication_config, issuers)
        if found.anonymous is not None and not options.anonymous_auth:
            raise ValueError("--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file")
        return found
    if not options.oidc_issuer_url:
        return Configuration()
    from kubepy.apiserver.authn.oidc import from_flags

    authority = Path(options.oidc_ca_file).read_text() if options.oidc_ca_file else ""
    return Configuration((from_flags(
        options.oidc_issuer_url, options.oidc_client_id, username_claim=options.oidc_username_claim,
        username_prefix=options.oidc_username_prefix, groups_claim=options.oidc_groups_claim, groups_prefix=options.oidc_groups_prefix,
        required=dict(claim.split("=", 1) for claim in options.oidc_required_claim), algorithms=options.oidc_signing_algs,
        authority=authority),))


def _issuers(options: Options, services: Services, accounts: tuple[str, ...]) -> Issuers | None:
    if not (options.authentication_config or options.oidc_issuer_url):
        return None
    from kubepy.apiserver.authn.oidc import Issuers  # its JOSE library is not needed otherwise

    return Issuers(services.clock, options.api_audiences or accounts)


def _follow_authentication(options: Options, services: Services, accounts: tuple[str, ...], authentication: Authentication,
                           issuers: Issuers) -> None:
    """Puts the configuration in force, now and whenever the file changes."""
    def apply() -> None:
        found = _configuration(options, accounts)
        issuers.replace(found.issuers)
        authentication.authenticator.anonymous = found.anonymous or Anonymous(options.anonymous_auth)
        authentication.reviewer.forget()

    apply()
    if options.authentication_config:
        services.files.follow("authentication configuration", [options.authentication_config], reloads("authentication_config", apply))


def _token_webhook(options: Options, services: Services) -> Peer | None:
    path = options.authentication_token_webhook_config_file
    return Peer(path, services.clock, flag="authentication-token-webhook-config-file") if path else None


def _authorizers(options: Options) -> tuple[Entry, ...]:
    """What decides, in order, from the file or from the flags. Raises OSError or ValueError."""
    if options.authorization_config:
        return load_authorization(options.authorization_config)
    webhook = Webhook(options.authorization_webhook_config_file, options.authorization_webhook_version,
                      allowed_seconds=options.authorization_webhook_cache_authorized_ttl,
                      denied_seconds=options.authorization_webhook_cache_unauthorized_ttl)
    return tuple(Entry(mode, "default" if mode == "Webhook" else mode.lower(), webhook if mode == "Webhook" else None)
                 for mode in options.authorization_mode)


def _authorization(options: Options, services: Services, tasks: Tasks) -> tuple[Authorizers, Rbac]:
    """Puts the configuration in force, now and whenever the file changes."""
    def webhook(entry: Entry) -> WebhookAuthorizer:
        found = entry.webhook
        assert found is not None
        peer = Peer(found.kubeconfig, services.clock, flag="authorization-webhook-config-file", seconds=found.timeout)
        return WebhookAuthorizer(peer, services.clock, allowed_seconds=found.allowed_seconds, denied_seconds=found.denied_seconds,
                                 version=found.version, name=entry.name, conditions=found.conditions,
                                 deny_on_failure=found.deny_on_failure)

    builder = Builder(services.stores, tasks, webhook, options.gates)
    entries = _authorizers(options)
    options.authorization_mode = tuple(entry.type for entry in entries)  # what others ask, whichever way it was given
    union = Authorizers(builder.make(entries))

    def apply() -> None:
        found = _authorizers(options)
        reloaded(entries, found)
        union.replace(builder.make(found))

    if options.authorization_config:
        services.files.follow("authorization configuration", [options.authorization_config], reloads("authorization_config", apply))
    return union, builder.rbac


def build_security(options: Options, services: Services, tasks: Tasks) -> Security:
    """Fills `services`; raises OSError or ValueError for options that cannot be used."""
    issuers = options.service_account_issuer or ("https://kubernetes.default.svc",)
    jwt = _issuers(options, services, issuers)
    authentication = build_authentication(AuthenticationOptions(
        anonymous_auth=options.anonymous_auth, client_ca_file=_path(options.client_ca_file), token_auth_file=_path(options.token_auth_file),
        enable_bootstrap_token_auth=options.enable_bootstrap_token_auth,
        requestheader_client_ca_file=_path(options.requestheader_client_ca_file),
        requestheader_allowed_names=options.requestheader_allowed_names,
        requestheader_username_headers=options.requestheader_username_headers or ("X-Remote-User",),
        requestheader_uid_headers=options.requestheader_uid_headers or ("X-Remote-Uid",),
        requestheader_group_headers=options.requestheader_group_headers or ("X-Remote-Group",),
        requestheader_extra_headers_prefix=options.requestheader_extra_headers_prefix or ("X-Remote-Extra-",),
        service_account_issuer=issuers, service_account_key_file=[Path(name) for name in options.service_account_key_file],
        service_account_signing_key_file=_path(options.service_account_signing_key_file),
        service_account_extend_token_expiration=options.service_account_extend_token_expiration,
        oidc=jwt, webhook=_token_webhook(options, services),
        webhook_version=options.authentication_token_webhook_version, webhook_seconds=options.authentication_token_webhook_cache_ttl,
        service_account_max_token_expiration=int(options.service_account_max_token_expiration), api_audiences=options.api_audiences),
        services.stores, services.clock, services.files)
    if jwt is not None:
        _follow_authentication(options, services, issuers, authentication, jwt)
    authorizer, rbac = _authorization(options, services, tasks)
    services.authenticator = authentication.authenticator
    services.token_reviewer = authentication.reviewer
    services.token_issuer = authentication.issuer
    services.documents.update(_discovery(options, authentication))
    services.authorizer = authorizer
    services.rbac = rbac
    return Security(authentication.authenticator, Impersonation(authorizer), authorizer)
