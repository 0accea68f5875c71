"""Discovery: which groups, versions and resources there are: `/api`, `/apis`, `/apis/GROUP`, `/api/v1`, `/apis/GROUP/VERSION`.

`/api` and `/apis` also answer in the aggregated form (`apidiscovery.k8s.io/v2`) with an ETag. Documents are made once for each
state of the table of kinds. Groups come in upstream's order, custom ones after the built-in ones.
"""
from __future__ import annotations

import base64
import hashlib
from typing import Any

from kubepy.api.errors import MethodNotAllowed, NotAcceptable, NotFound
from kubepy.api.types import Object
from kubepy.apiserver import media
from kubepy.apiserver.aggregation.document import CUSTOM_PRIORITY, group_priority, resource_list
from kubepy.apiserver.aggregation.table import Remote
from kubepy.apiserver.crd.kind import TERMINATING_VERBS
from kubepy.apiserver.exchange import Exchange, render
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.representation import is_custom
from kubepy.apiserver.server import Server, stored

_AGGREGATED = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
GROUP_ORDER = (
    "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch",
    "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io", "admissionregistration.k8s.io",
    "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "storagemigration.k8s.io",
)
_RANK = {name: rank for rank, name in enumerate(GROUP_ORDER)}


class Discovery:
    def __init__(self, server: Server) -> None:
        self.server = server
        self._generation = (-1, -1)
        self._documents: dict[str, Object] = {}
        self._encoded: dict[tuple[str, str, bool], tuple[bytes, bytes, str]] = {}

    async def serve(self, exchange: Exchange) -> bool:
        """Answers a discovery path; False for any other. Raises ApiError."""
        path = exchange.info.path
        if path[:4] != "/api" or path[:2] == "//":
            return False
        parts = path.rstrip("/").split("/")[1:]
        if parts[0] not in ("api", "apis") or len(parts) > (2 if parts[0] == "api" else 3):
            if parts[0] == "api" and len(parts) > 1:
                raise NotFound("the server could not find the requested resource", {})
            return False
        self._refresh()
        key = "/".join(parts)
        if parts[0] == "apis" and len(parts) > 1 and f"apis/{parts[1]}" not in self._documents:
            return False
        if key not in self._documents:
            raise NotFound("the server could not find the requested resource", {})
        if exchange.method != "GET":
            raise MethodNotAllowed("the server does not allow this method on the requested resource", {})
        await self._answer(exchange, key, aggregatable=len(parts) == 1)
        return True

    async def _answer(self, exchange: Exchange, key: str, *, aggregatable: bool) -> None:
        accept = exchange.header(b"accept")
        aggregated = aggregated_type(accept) if aggregatable else None
        pretty = exchange.pretty
        if aggregated is None:
            chosen = media.negotiate(accept, transforms=False)
            body, kind, _ = self._bytes(key, chosen.type, pretty or chosen.pretty)
            await exchange.answer(200, body, kind)
            return
        body, _, tag = self._bytes("aggregated " + key, aggregated, pretty)
        headers = [(b"Vary", b"Accept"), (b"Cache-Control", b"public"), (b"ETag", f'"{tag}"'.encode())]
        if exchange.header(b"if-none-match") == f'"{tag}"':
            await exchange.answer(304, b"", (aggregated + _AGGREGATED).encode(), headers)
            return
        await exchange.answer(200, body, (aggregated + _AGGREGATED).encode(), headers)

    def _bytes(self, key: str, kind: str, pretty: bool) -> tuple[bytes, bytes, str]:
        found = self._encoded.get((key, kind, pretty))
        if found is None:
            body, sent = render(self._documents[key], kind, pretty)
            found = self._encoded[key, kind, pretty] = (body, sent, hashlib.sha512(body).hexdigest().upper())
        return found

    def _refresh(self) -> None:
        table = self.server.kinds
        generation = (table.generation, self.server.remotes.generation)
        if generation == self._generation:
            return
        self._generation = generation
        self._encoded.clear()
        documents: dict[str, Object] = {}
        by_version: dict[tuple[str, str], list[Kind]] = {}
        for kind in table.kinds:
            by_version.setdefault((kind.resource.group, kind.resource.version), []).append(kind)
        remotes = self.server.remotes.versions()
        versions = {name: merged_versions(table.versions.get(name, []), remotes.get(name, []))
                    for name in {*table.versions, *remotes} if name}
        groups = sorted(versions, key=lambda name: (_RANK.get(name, len(_RANK)), -group_priority(remotes.get(name, [])), name))
        options = self.server.options
        documents["api"] = {"kind": "APIVersions", "versions": table.versions.get("", ["v1"]), "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": f"{options.advertise_address}:{options.secure_port}"}]}
        entries = {name: group_entry(name, versions[name]) for name in groups}
        documents["apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(entries.values())}
        for name in groups:
            documents[f"apis/{name}"] = {"kind": "APIGroup", "apiVersion": "v1", **entries[name]}
        for (group, version), kinds in by_version.items():
            resources = [entry for kind in sorted(kinds, key=lambda kind: kind.resource.plural) for entry in resource_entries(kind)]
            head: Object = {"kind": "APIResourceList"} if not group else {"kind": "APIResourceList", "apiVersion": "v1"}
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            documents[path] = {**head, "groupVersion": f"{group}/{version}" if group else version, "resources": resources}
        documents["aggregated api"] = _aggregate([("", table.versions.get("", []))], by_version)
        told = {(remote.group, remote.version): resource_list(remote) for remote in self.server.remotes.remotes.values()}
        documents["aggregated apis"] = _aggregate([(name, versions[name]) for name in groups], by_version, told)
        self._documents = documents


def aggregated_type(accept: str) -> str | None:
    """The media type when the first acceptable clause is for aggregated discovery, or one stands beside plain JSON; else None.

    Raises NotAcceptable when nothing but unknown forms of it is accepted."""
    plain = False
    for clause in media.clauses(accept):
        parameters = dict(clause.parameters)
        if clause.type in (media.JSON, media.YAML) and parameters.get("as") == "APIGroupDiscoveryList":
            if parameters.get("g") == "apidiscovery.k8s.io" and parameters.get("v") == "v2":
                return clause.type
        elif clause.type in (media.JSON, media.YAML, "*/*"):
            plain = True
    if not plain and "APIGroupDiscoveryList" in accept:
        raise NotAcceptable(f"only the following media types are accepted: {', '.join(media.OFFERED)}")
    return None


def group_entry(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _verbs(kind: Kind) -> list[str]:
    """Those of custom resources come in an order of their own."""
    if not is_custom(kind):
        return sorted(kind.verbs)
    return list(TERMINATING_VERBS) if getattr(kind, "terminating", False) else list(kind.verbs)


def storage_version_hash(kind: Kind) -> str:
    resource = stored(kind)
    text = f"{resource.group}/{resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def resource_entries(kind: Kind) -> list[Object]:
    """A kind's APIResources: itself, then its subresources in order."""
    resource = kind.resource
    entry: Object = {"name": resource.plural, "singularName": kind.singular, "namespaced": resource.namespaced, "kind": resource.kind,
                     "verbs": _verbs(kind)}
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.handler is None and "watch" in kind.verbs:
        entry["storageVersionHash"] = storage_version_hash(kind)
    entries = [entry]
    for sub in sorted(kind.subresources, key=lambda sub: sub.name):
        found: Object = {"name": f"{resource.plural}/{sub.name}", "singularName": "", "namespaced": resource.namespaced}
        if sub.version:
            found |= {"group": sub.group or "", "version": sub.version}
        entries.append({**found, "kind": sub.kind or resource.kind, "verbs": sorted(sub.verbs)})
    return entries


def merged_versions(own: list[str], remotes: list[Remote]) -> list[str]:
    """The versions of a group, preferred first: ours stand where a priority of 100 puts them."""
    theirs = [remote.version for remote in remotes]
    first = [remote.version for remote in remotes if remote.version_priority > CUSTOM_PRIORITY]
    return list(dict.fromkeys([*first, *(version for version in own if version not in theirs), *theirs]))


def _aggregate(groups: list[tuple[str, list[str]]], by_version: dict[tuple[str, str], list[Kind]],
               told: dict[tuple[str, str], Object] | None = None) -> Object:
    items = []
    for name, versions in groups:
        listed: list[Object] = []
        for version in versions:
            if told and (name, version) in told:
                listed.append(told[name, version])
                continue
            kinds = sorted(by_version.get((name, version), []), key=lambda kind: kind.resource.plural)
            listed.append({"version": version, "freshness": "Current", "resources": [aggregated_entry(kind) for kind in kinds]})
        items.append({"metadata": {"name": name} if name else {}, "versions": listed})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def aggregated_entry(kind: Kind) -> Object:
    resource = kind.resource
    group, version = (resource.group, resource.version) if is_custom(kind) else ("", "")
    entry: dict[str, Any] = {
        "resource": resource.plural, "responseKind": {"group": group, "version": version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster", "singularResource": kind.singular, "verbs": _verbs(kind)}
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {"subresource": sub.name, "verbs": sorted(sub.verbs),
             "responseKind": {"group": (sub.group or "") if sub.version else group, "version": sub.version or version,
                              "kind": sub.kind or resource.kind}}
            for sub in sorted(kind.subresources, key=lambda sub: sub.name)]
    return entry
