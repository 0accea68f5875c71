"""What is wrong with structured configuration of authentication and authorization, in the API server's words."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubepy.apiserver.authn import configuration as authn
from kubepy.apiserver.authz import configuration as authz
from kubepy.apiserver.configuration import ConfigurationError

GOOD: dict[str, Any] = {"issuer": {"url": "https://a.example.com", "audiences": ["kube"]},
                        "claimMappings": {"username": {"claim": "sub", "prefix": ""}}}


def jwt(**changes: Any) -> dict[str, Any]:
    """A good one with parts replaced: `issuer_url` stands for issuer.url."""
    made = {**GOOD, "issuer": dict(GOOD["issuer"]), "claimMappings": dict(GOOD["claimMappings"])}
    for key, value in changes.items():
        part, _, field = key.partition("_")
        if field:
            made[part][field] = value
        else:
            made[part] = value
    return made


def mapped(**username: str) -> dict[str, Any]:
    return jwt(claimMappings={"username": username})


@pytest.mark.parametrize(("jwts", "expected"), [
    pytest.param([jwt()], [], id="a good one"),
    pytest.param([jwt(issuer_url="")], ["jwt[0].issuer.url: Required value"], id="no issuer"),
    pytest.param([jwt(issuer_url="http://u:p@a?x#y")], [
        f'jwt[0].issuer.url: Invalid value: "http://u:p@a?x#y": {why}' for why in (
            "URL scheme must be https", "URL must not contain a username or password", "URL must not contain a query",
            "URL must not contain a fragment")], id="no issuer's URL"),
    pytest.param([jwt(issuer_url="https://own")], [
        'jwt[0].issuer.url: Invalid value: "https://own": URL must not overlap with disallowed issuers: [https://own]'],
        id="our own issuer"),
    pytest.param([jwt(issuer_discoveryURL="https://a.example.com/")], [
        'jwt[0].issuer.discoveryURL: Invalid value: "https://a.example.com/": discoveryURL must be different from URL'],
        id="same discovery"),
    pytest.param([jwt(issuer_audiences=[])], ["jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required"],
                 id="for nobody"),
    pytest.param([jwt(issuer_audiences=["a", "b"])], [
        'jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences'],
        id="several audiences, no policy"),
    pytest.param([jwt(), jwt()], ['jwt[1].issuer.url: Duplicate value: "https://a.example.com"'], id="an issuer twice"),
    pytest.param([jwt(claimMappings={})], ["jwt[0].claimMappings.username: Required value: claim or expression is required"], id="no name"),
    pytest.param([mapped(claim="sub")], ["jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. "
                                         "It can be set to an empty string to disable prefixing"], id="no prefix"),
    pytest.param([mapped(claim="sub", expression="claims.sub")], [
        "jwt[0].claimMappings.username: Invalid value: \"\": claim and expression can't both be set"], id="a name in two ways"),
    pytest.param([mapped(expression="claims.email")], [
        'jwt[0].claimMappings.username.expression: Invalid value: "claims.email": claims.email_verified must be used in '
        "claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when "
        "claims.email is used in claimMappings.username.expression"], id="an email nobody verified"),
    pytest.param([jwt(claimValidationRules=[{"expression": "claims.email"}])], [
        'jwt[0].claimValidationRules[0].expression: Invalid value: "claims.email": must evaluate to bool'], id="a rule that is no bool"),
    pytest.param([jwt(claimValidationRules=[{"claim": "a", "message": "m"}, {"claim": "a"}, {}])], [
        'jwt[0].claimValidationRules[0].message: Invalid value: "m": may not be specified when claim is set',
        'jwt[0].claimValidationRules[1].claim: Duplicate value: "a"',
        "jwt[0].claimValidationRules[2]: Required value: claim or expression is required"], id="bad rules"),
    pytest.param([jwt(claimMappings_extra=[{"key": "x.k8s.io/a", "valueExpression": "claims.a"}, {"key": "b.c/D"}])], [
        'jwt[0].claimMappings.extra[0].key: Invalid value: "x.k8s.io/a": k8s.io, kubernetes.io and their subdomains are reserved for '
        "Kubernetes use", 'jwt[0].claimMappings.extra[1].key: Invalid value: "b.c/D": must be lowercase',
        "jwt[0].claimMappings.extra[1].valueExpression: Required value"], id="bad extras"),
    pytest.param([jwt(userValidationRules=[{"expression": "user.nope == 'a'"}])], [
        "jwt[0].userValidationRules[0].expression: Invalid value: \"user.nope == 'a'\": compilation failed: ERROR: <input>:1:5: "
        "undefined field 'nope'\n | user.nope == 'a'\n | ....^"], id="a rule about what users have not"),
])
def test_authentication(jwts: list[dict[str, Any]], expected: list[str]) -> None:
    assert [str(error) for error in authn.check({"jwt": jwts}, ["https://own"])] == expected


def test_anonymous_conditions_need_it_enabled() -> None:
    errors = authn.check({"anonymous": {"enabled": False, "conditions": [{"path": "/livez"}]}})
    assert [error.field for error in errors] == ["anonymous.conditions"]


WEBHOOK = {"timeout": "3s", "authorizedTTL": "5m", "unauthorizedTTL": "30s", "subjectAccessReviewVersion": "v1", "failurePolicy": "Deny",
           "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/dev/../etc/passwd"}}


def webhook(**changes: Any) -> dict[str, Any]:
    return {"type": "Webhook", "name": "a", "webhook": {**WEBHOOK, **changes}}


CONDITIONS = [{"expression": "request.user"}, {"expression": " "}, {"expression": "request.user == 'a'"}]


@pytest.mark.parametrize(("authorizers", "expected"), [
    pytest.param([webhook(), {"type": "RBAC", "name": "rbac"}], [], id="good ones"),
    pytest.param([], ["authorizers: Required value: at least one authorization mode must be defined"], id="none"),
    pytest.param([{"type": "Else", "name": "a"}], [
        'authorizers[0].type: Unsupported value: "Else": supported values: "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"'],
        id="an unknown type"),
    pytest.param([{"type": "RBAC", "name": "a"}, {"type": "RBAC", "name": "b"}], ['authorizers[1].type: Duplicate value: "RBAC"'],
                 id="twice"),
    pytest.param([{"type": "Webhook", "name": "a"}], ["authorizers[0].webhook: Required value: required when type=Webhook"],
                 id="no webhook"),
    pytest.param([webhook(timeout="31s", failurePolicy="")], [
        'authorizers[0].timeout: Invalid value: "31s": must be > 0s and <= 30s', "authorizers[0].failurePolicy: Required value"],
        id="too patient, no policy"),
    pytest.param([webhook(connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": "x"})], [
        'authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "x": must be an absolute path'], id="a relative path"),
    pytest.param([webhook(matchConditions=CONDITIONS, matchConditionSubjectAccessReviewVersion="v1")], [
        'authorizers[0].matchConditions[0].expression: Invalid value: "request.user": must evaluate to bool',
        "authorizers[0].matchConditions[1].expression: Required value"], id="bad conditions"),
])
def test_authorization(authorizers: list[dict[str, Any]], expected: list[str]) -> None:
    assert [str(error) for error in authz.check(authorizers)] == expected


@pytest.mark.parametrize(("document", "words"), [
    pytest.param({"apiVersion": authn.VERSIONS[0], "kind": "AuthenticationConfiguration", "jwt": [{"issuer": {"uri": "x"}}]},
                 'strict decoding error: unknown field "jwt[0].issuer.uri"', id="a misspelt field"),
    pytest.param({"apiVersion": "v1", "kind": "AuthenticationConfiguration"}, "no kind", id="another version"),
    pytest.param(None, "empty config data", id="nothing"),
])
def test_files_are_read_strictly(tmp_path: Path, document: Any, words: str) -> None:
    (tmp_path / "file").write_text("" if document is None else yaml.safe_dump(document))
    with pytest.raises(ConfigurationError, match=words.replace("[", r"\[")):
        authn.load(str(tmp_path / "file"))
