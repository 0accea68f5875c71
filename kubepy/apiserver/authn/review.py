"""TokenReview, SelfSubjectReview and the token subresource of service accounts."""
from __future__ import annotations

import math

from kubepy.api import field
from kubepy.api.errors import BadRequest, Conflict, Invalid, NotFound, ServiceUnavailable
from kubepy.api.resource import NODES, PODS, SECRETS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.request import Context, User
from kubepy.apiserver.services import Services
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.verbs import manage
from kubepy.base.clock import format_time

_TOKEN_REQUEST = Resource("authentication.k8s.io", "v1", "tokenrequests", "TokenRequest", True)
_DEFAULT_SECONDS = 3600
_MIN_SECONDS = 600
_MAX_SECONDS = 1 << 32
_BINDABLE = {("v1", "Pod"): PODS, ("v1", "Secret"): SECRETS, ("v1", "Node"): NODES}


def user_info(user: User) -> Object:
    """`authentication/v1.UserInfo`."""
    info: Object = {"username": user.name} if user.name else {}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


async def self_subject_review(services: Services, context: Context, obj: Object) -> Object:
    return {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"creationTimestamp": format_time(services.clock.now())}, "status": {"userInfo": user_info(context.user)}}


async def token_review(services: Services, context: Context, obj: Object) -> Object:
    spec = obj.get("spec") or {}
    token = spec.get("token")
    if not token:
        raise BadRequest("token is required for TokenReview in authentication")
    if services.token_reviewer is None:
        return obj
    reviewed = await services.token_reviewer.review(token, spec.get("audiences") or ())
    status: Object = {}
    if reviewed.user is not None:
        status["authenticated"] = True
        status["user"] = user_info(reviewed.user)
        status["audiences"] = list(reviewed.audiences)
    else:
        status["user"] = {}
        if reviewed.error:
            status["error"] = reviewed.error
    return {**obj, "status": status}


async def create_token(services: Services, context: Context, obj: Object, entry: Entry) -> Object:
    """POST serviceaccounts/NAME/token: a token for the account, bound to what the request names."""
    issuer = services.token_issuer
    if issuer is None:
        raise ServiceUnavailable("token requests need --service-account-signing-key-file", {})
    account = entry.decode()["metadata"]
    spec = obj["spec"] = dict(obj.get("spec") or {})
    if spec.get("expirationSeconds") is None:
        spec["expirationSeconds"] = _DEFAULT_SECONDS
    manage.track_body(context, _TOKEN_REQUEST, obj, "token", services.clock.now())
    metadata = dict(obj.get("metadata") or {})
    namespace, name = account.get("namespace", ""), account["name"]
    problems = [field.invalid(field.Path("metadata").child(key), metadata[key], f"must match the service account {key} if specified")
                for key, value in (("name", name), ("namespace", namespace), ("uid", account["uid"]))
                if metadata.get(key) not in (None, "", value)]
    if problems:
        raise Invalid.of("authentication.k8s.io", "TokenRequest", name, problems)
    spec["audiences"] = spec.get("audiences") or list(issuer.audiences)
    seconds = spec["expirationSeconds"]
    _check_seconds(seconds)
    if issuer.max_seconds and seconds > issuer.max_seconds:
        context.warn(f"requested expiration of {seconds} seconds shortened to {issuer.max_seconds} seconds")
        seconds = spec["expirationSeconds"] = issuer.max_seconds
    bound = await _bound(services, namespace, name, spec.get("boundObjectRef"))
    now = math.floor(services.clock.now())
    token = issuer.issue(namespace, {"name": name, "uid": account["uid"]}, spec["audiences"], seconds, now, **bound)
    metadata.update(name=name, namespace=namespace, uid=account["uid"], creationTimestamp=format_time(now))
    return {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": metadata, "spec": spec,
            "status": {"token": token, "expirationTimestamp": format_time(now + seconds)}}


def _check_seconds(seconds: int) -> None:
    path = field.Path("spec").child("expirationSeconds")
    if seconds < _MIN_SECONDS:
        problem = field.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > _MAX_SECONDS:
        problem = field.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")
    else:
        return
    raise Invalid.of("authentication.k8s.io", "TokenRequest", "", [problem])


async def _bound(services: Services, namespace: str, account: str, reference: Object | None) -> dict[str, Object]:
    """The claims for the bound object: itself, and a pod's node."""
    if reference is None:
        return {}
    version, kind, name = reference.get("apiVersion", ""), reference.get("kind", ""), reference.get("name", "")
    resource = _BINDABLE.get((version, kind))
    if resource is None:
        group, _, short = version.rpartition("/")
        raise BadRequest(f"cannot bind token to object of type {group}/{short}, Kind={kind}")
    entry = await services.store(resource).get(namespace if resource.namespaced else "", name)
    found = entry.decode()
    uid = found["metadata"]["uid"]
    claims: dict[str, Object] = {kind.lower(): {"name": name, "uid": uid}}
    if kind == "Pod":
        spec = found.get("spec") or {}
        if spec.get("serviceAccountName", "") != account:
            raise BadRequest(f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.')
        if node := spec.get("nodeName"):
            claims["node"] = await _node(services, node)
    if reference.get("uid") not in (None, "", uid):
        raise _conflict(kind, name, reference["uid"])
    return claims


async def _node(services: Services, name: str) -> Object:
    try:
        entry = await services.store(NODES).get("", name, resource_version="0")
    except NotFound:
        return {"name": name}
    return {"name": name, "uid": entry.uid}


def _conflict(kind: str, name: str, uid: str) -> Conflict:
    """Upstream names the Kind where a resource would stand."""
    return Conflict.of(Resource("", "v1", kind, kind, True), name,
                       f"the UID in the bound object reference ({uid}) does not match the UID in record. "
                       "The object might have been deleted and then recreated")
