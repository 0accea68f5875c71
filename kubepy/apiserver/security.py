"""Composes authentication and authorization from the server's options."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kubepy.apiserver.authn.build import Authentication, AuthenticationOptions
from kubepy.apiserver.authn.build import build as build_authentication
from kubepy.apiserver.authn.impersonation import Impersonation
from kubepy.apiserver.authn.interface import Authenticator, Impersonator
from kubepy.apiserver.authn.issuer import discovery_document, jwks_document
from kubepy.apiserver.authn.token import TokenAuthenticator
from kubepy.apiserver.authz.build import build as build_authorization
from kubepy.apiserver.authz.interface import Authorizer
from kubepy.apiserver.authz.webhook import WebhookAuthorizer
from kubepy.apiserver.options import Options
from kubepy.apiserver.services import Services
from kubepy.apiserver.webhook.peer import Peer
from kubepy.base.task import Tasks


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


def _oidc(options: Options, services: Services, issuers: tuple[str, ...]) -> TokenAuthenticator | None:
    if not options.oidc_issuer_url:
        return None
    from kubepy.apiserver.authn.oidc import Oidc, fetcher  # its JOSE library is not needed otherwise

    required = dict(claim.split("=", 1) for claim in options.oidc_required_claim)
    return Oidc(options.oidc_issuer_url, options.oidc_client_id, services.clock, fetcher(options.oidc_ca_file),
                username_claim=options.oidc_username_claim, username_prefix=options.oidc_username_prefix,
                groups_claim=options.oidc_groups_claim, groups_prefix=options.oidc_groups_prefix, required=required,
                algorithms=options.oidc_signing_algs, audiences=options.api_audiences or issuers)


def _token_webhook(options: Options, services: Services) -> Peer | None:
    path = options.authentication_token_webhook_config_file
    return Peer(path, services.clock, flag="authentication-token-webhook-config-file") if path else None


def _authorizer(options: Options, services: Services) -> WebhookAuthorizer | None:
    if "Webhook" not in options.authorization_mode:
        return None
    peer = Peer(options.authorization_webhook_config_file, services.clock, flag="authorization-webhook-config-file")
    return WebhookAuthorizer(peer, services.clock, allowed_seconds=options.authorization_webhook_cache_authorized_ttl,
                             denied_seconds=options.authorization_webhook_cache_unauthorized_ttl,
                             version=options.authorization_webhook_version)


def build_security(options: Options, services: Services, tasks: Tasks) -> Security:
    """Fills `services`; raises OSError or ValueError for options that cannot be used."""
    issuers = options.service_account_issuer or ("https://kubernetes.default.svc",)
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
        oidc=_oidc(options, services, issuers), webhook=_token_webhook(options, services),
        webhook_version=options.authentication_token_webhook_version,
        service_account_max_token_expiration=int(options.service_account_max_token_expiration), api_audiences=options.api_audiences),
        services.stores, services.clock, services.files)
    authorizer, rbac = build_authorization(options.authorization_mode, services.stores, tasks, _authorizer(options, services))
    services.authenticator = authentication.authenticator
    services.token_reviewer = authentication.reviewer
    services.token_issuer = authentication.issuer
    services.documents.update(_discovery(options, authentication))
    services.authorizer = authorizer
    services.rbac = rbac
    return Security(authentication.authenticator, Impersonation(authorizer), authorizer)
