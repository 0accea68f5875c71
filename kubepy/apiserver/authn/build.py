"""Composes the authenticators from the server's options, in Kubernetes' order: front proxy, certificate, tokens, anonymous."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubepy.api.errors import Unauthorized
from kubepy.api.resource import SECRETS, Resource
from kubepy.apiserver.authn.bootstrap import BootstrapTokens
from kubepy.apiserver.authn.certificate import CertificateAuthenticator, CertificateVerifier, FrontProxyAuthenticator
from kubepy.apiserver.authn.configuration import Anonymous
from kubepy.apiserver.authn.interface import Authenticator, Scope
from kubepy.apiserver.authn.issuer import TokenIssuer, VerificationKey, load_public_keys
from kubepy.apiserver.authn.service_account import ServiceAccountTokens
from kubepy.apiserver.authn.token import BearerTokens, StaticTokens, TokenAuthenticator, with_groups
from kubepy.apiserver.authn.webhook import Poster, WebhookTokens
from kubepy.apiserver.request import User
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.base.clock import Clock
from kubepy.base.watched import Files

ANONYMOUS = User("system:anonymous", "", ("system:unauthenticated",))


@dataclass(slots=True)
class AuthenticationOptions:
    """The flags of kube-apiserver that authentication has."""

    anonymous_auth: bool = True
    client_ca_file: Path | None = None
    token_auth_file: Path | None = None
    enable_bootstrap_token_auth: bool = False
    requestheader_client_ca_file: Path | None = None
    requestheader_allowed_names: Sequence[str] = ()
    requestheader_username_headers: Sequence[str] = ("X-Remote-User",)
    requestheader_uid_headers: Sequence[str] = ("X-Remote-Uid",)
    requestheader_group_headers: Sequence[str] = ("X-Remote-Group",)
    requestheader_extra_headers_prefix: Sequence[str] = ("X-Remote-Extra-",)
    service_account_issuer: Sequence[str] = ("https://kubernetes.default.svc",)
    service_account_key_file: Sequence[Path] = ()
    service_account_signing_key_file: Path | None = None
    service_account_extend_token_expiration: bool = True
    service_account_max_token_expiration: int = 0
    """Seconds; 0: no limit."""
    oidc: TokenAuthenticator | None = None
    webhook: Poster | None = None
    """Asked about tokens that nobody else knows."""
    webhook_version: str = "v1beta1"
    webhook_seconds: float = 120.0
    """How long its answers are believed."""
    api_audiences: Sequence[str] = ()
    """Empty: the first issuer."""

    @property
    def audiences(self) -> tuple[str, ...]:
        return tuple(self.api_audiences) or tuple(self.service_account_issuer)


class Union:
    """The first authenticator that knows the sender decides; errors count only when none does."""

    def __init__(self, authenticators: Sequence[Authenticator], anonymous: Anonymous) -> None:
        self._authenticators = authenticators
        self.anonymous = anonymous

    async def authenticate(self, scope: Scope) -> User | None:
        failure: Unauthorized | None = None
        for authenticator in self._authenticators:
            try:
                user = await authenticator.authenticate(scope)
            except Unauthorized as error:
                failure = failure or error
                continue
            if user is not None:
                return with_groups(user)
        if failure is not None:
            raise failure
        anonymous = self.anonymous
        return ANONYMOUS if anonymous.enabled and (not anonymous.paths or scope["path"] in anonymous.paths) else None


@dataclass(slots=True)
class Authentication:
    """What `build` gives: fields for `Services` and the OIDC endpoints."""

    authenticator: Union
    reviewer: BearerTokens
    issuer: TokenIssuer | None
    keys: list[VerificationKey] = field(default_factory=list)


def build(options: AuthenticationOptions, stores: Mapping[Resource, ResourceStore], clock: Clock,
          files: Files) -> Authentication:
    """Reads the files the options name; raises OSError or ValueError for what cannot be used."""
    authenticators: list[Authenticator] = []
    if options.requestheader_client_ca_file is not None:
        authenticators.append(FrontProxyAuthenticator(
            CertificateVerifier.of_file(options.requestheader_client_ca_file, clock, files, "front proxy's authorities"),
            allowed_names=options.requestheader_allowed_names,
            user_headers=options.requestheader_username_headers, uid_headers=options.requestheader_uid_headers,
            group_headers=options.requestheader_group_headers, extra_prefixes=options.requestheader_extra_headers_prefix))
    if options.client_ca_file is not None:
        authenticators.append(CertificateAuthenticator(
            CertificateVerifier.of_file(options.client_ca_file, clock, files, "client authorities")))
    audiences = options.audiences
    issuer = None
    key_files = list(options.service_account_key_file)
    if options.service_account_signing_key_file is not None:
        issuer = TokenIssuer(options.service_account_issuer[0], options.service_account_signing_key_file.read_bytes(), audiences,
                             max_seconds=options.service_account_max_token_expiration,
                             extend=options.service_account_extend_token_expiration)
        key_files = key_files or [options.service_account_signing_key_file]
    keys = load_public_keys(key_files)
    tokens: list[TokenAuthenticator] = []
    if options.token_auth_file is not None:
        tokens.append(StaticTokens(options.token_auth_file.read_text(), audiences))
    if keys:
        tokens.append(ServiceAccountTokens(options.service_account_issuer, keys, stores, clock, audiences))
    if options.enable_bootstrap_token_auth:
        tokens.append(BootstrapTokens(stores[SECRETS], clock, audiences))
    if options.oidc is not None:
        tokens.append(options.oidc)
    if options.webhook is not None:
        tokens.append(WebhookTokens(options.webhook, audiences, options.webhook_version, clock=clock, seconds=options.webhook_seconds))
    bearer = BearerTokens(tokens, audiences, clock)
    authenticators.append(bearer)
    return Authentication(Union(authenticators, Anonymous(options.anonymous_auth)), bearer, issuer, keys)
