"""Validation of a whole pod spec, shared by Pods and all pod templates (`ValidatePodSpec`, in upstream's order of checks)."""
from __future__ import annotations

import re

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core import podspec_scheduling as scheduling
from kubepy.apiserver.registry.core.podspec_annotations import pod_annotations, profiles_match
from kubepy.apiserver.registry.core.podspec_containers import Surroundings, containers, ephemeral_containers, init_containers
from kubepy.apiserver.registry.core.podspec_resources import container_resource_name, pod_level, resource_value
from kubepy.apiserver.registry.core.podspec_security import host_network_ports, operating_system, pod_security
from kubepy.apiserver.registry.core.podspec_volumes import volumes
from kubepy.apiserver.registry.core.podspec_windows import host_process

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_SEARCH = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*"
_SEARCH_MESSAGE = name.regex_error("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
                                   "and must start and end with an alphanumeric character", _SEARCH, "example.com")


def pod_template(template: Object, path: Path) -> Errors:
    """ValidatePodTemplateSpec."""
    spec, annotations = template.get("spec") or {}, (template.get("metadata") or {}).get("annotations") or {}
    errors = template_metadata(template, path)
    errors += pod_annotations(annotations, spec, path.child("annotations"))
    errors += pod_spec(spec, path.child("spec"), None)
    errors += profiles_match(annotations, spec, path.child("spec"))
    if spec.get("ephemeralContainers"):
        errors.append(field.forbidden(path.child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"))
    return errors


def template_metadata(template: Object, path: Path) -> Errors:
    """The labels and annotations of a template."""
    metadata = template.get("metadata") or {}
    errors = check.labels(metadata.get("labels"), path.child("labels"))
    for key in sorted(metadata.get("annotations") or {}):
        errors += check.named(name.qualified, key.lower(), path.child("annotations"))
    return errors


def pod_spec(spec: Object, path: Path, pod_name: str | None) -> Errors:
    """ValidatePodSpec; `pod_name` only for a Pod."""
    valid_volumes, errors = volumes(spec.get("volumes") or [], path.child("volumes"), pod_name)
    claims = spec.get("resourceClaims") or []
    errors += scheduling.resource_claims(claims, path.child("resourceClaims"))
    regular, init = spec.get("containers") or [], spec.get("initContainers") or []
    pod = Surroundings(valid_volumes, tuple(claim.get("name", "") for claim in claims), spec.get("terminationGracePeriodSeconds", 30),
                       spec.get("restartPolicy", ""), spec.get("hostUsers") is False)
    errors += containers(regular, path.child("containers"), pod)
    errors += init_containers(init, regular, path.child("initContainers"), pod)
    errors += ephemeral_containers(spec.get("ephemeralContainers") or [], [*regular, *init], path.child("ephemeralContainers"), pod)
    if spec.get("resources") is not None:
        errors += pod_level(spec, path)
    errors += host_network_ports(spec, path)
    errors += check.need_one_of(spec.get("restartPolicy"), path.child("restartPolicy"), _RESTART_POLICIES)
    errors += check.need_one_of(spec.get("dnsPolicy"), path.child("dnsPolicy"), _DNS_POLICIES)
    errors += check.labels(spec.get("nodeSelector"), path.child("nodeSelector"))
    errors += pod_security(spec, path)
    errors += scheduling.affinity(spec.get("affinity"), path.child("affinity"))
    errors += _dns_config(spec, path.child("dnsConfig"))
    for position, gate in enumerate(spec.get("readinessGates") or ()):
        errors += check.named(name.qualified, gate.get("conditionType", ""),
                              path.child("readinessGates").index(position).child("conditionType"))
    errors += scheduling.gates(spec.get("schedulingGates") or [], path.child("schedulingGates"))
    errors += scheduling.spread_constraints(spec.get("topologySpreadConstraints") or [], path.child("topologySpreadConstraints"))
    errors += host_process(spec, path)
    errors += _host_users(spec, path)
    errors += _names(spec, path)
    errors += scheduling.tolerations(spec.get("tolerations") or [], path.child("tolerations"))
    errors += _host_aliases(spec.get("hostAliases") or [], path.child("hostAliases"))
    errors += _classes(spec, path)
    errors += operating_system(spec, path)
    return errors if pod_name is None else errors + _token_needs_account(spec, path)


def _names(spec: Object, path: Path) -> Errors:
    errors: Errors = []
    for key, validator in (("serviceAccountName", name.subdomain), ("nodeName", name.subdomain)):
        if spec.get(key):
            errors += check.named(validator, spec[key], path.child(key))
    errors += check.between(spec.get("activeDeadlineSeconds"), 1, check.MAX_INT32, path.child("activeDeadlineSeconds"))
    for key in ("hostname", "subdomain"):
        if spec.get(key):
            errors += check.named(name.label, spec[key], path.child(key))
    return errors


def _classes(spec: Object, path: Path) -> Errors:
    errors: Errors = []
    if spec.get("priorityClassName"):
        errors += check.named(name.subdomain, spec["priorityClassName"], path.child("priorityClassName"))
    if spec.get("runtimeClassName") is not None:
        errors += check.named(name.subdomain, spec["runtimeClassName"], path.child("runtimeClassName"))
    if spec.get("preemptionPolicy") is not None:
        errors += check.need_one_of(spec["preemptionPolicy"], path.child("preemptionPolicy"), ("PreemptLowerPriority", "Never"))
    for resource, amount in sorted((spec.get("overhead") or {}).items()):
        at = path.child("overhead").key(resource)
        errors += container_resource_name(resource, at) + resource_value(resource, amount, at)
    override = spec.get("hostnameOverride")
    if override is not None:
        if spec.get("setHostnameAsFQDN"):
            errors.append(field.forbidden(path.child("setHostnameAsFQDN"), "may not be true when `hostnameOverride` is specified"))
        if spec.get("hostNetwork"):
            errors.append(field.forbidden(path.child("hostnameOverride"), "may not be specified when `hostNetwork` is true"))
        errors += check.named(name.subdomain, override, path.child("hostnameOverride"))
        if len(override) > 64:
            errors.append(field.too_long(path.child("hostnameOverride"), 64))
    return errors


def _host_users(spec: Object, path: Path) -> Errors:
    """validateHostUsers: no other namespace of the host with a user namespace of one's own."""
    if spec.get("hostUsers") is not False:
        return []
    return [field.forbidden(path.child(key), "when `hostUsers` is false") for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]


def _dns_config(spec: Object, path: Path) -> Errors:
    config = spec.get("dnsConfig")
    errors: Errors = []
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [field.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            return [field.required(path.child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")]
    if config is None:
        return []
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        errors.append(field.invalid(path.child("nameservers"), servers, "must not have more than 3 nameservers"))
    for position, server in enumerate(servers):
        errors += check.named(name.ip, server, path.child("nameservers").index(position))
    if len(searches) > 32:
        errors.append(field.invalid(path.child("searches"), searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > 2048:
        errors.append(field.invalid(path.child("searches"), searches,
                                    "must not have more than 2048 characters (including spaces) in the search list"))
    for position, search in enumerate(searches):
        text = search.removesuffix(".") if search != "." else search
        if search != "." and not re.fullmatch(_SEARCH, text):
            errors.append(field.invalid(path.child("searches").index(position), text, _SEARCH_MESSAGE))
    for position, option in enumerate(config.get("options") or ()):
        errors += check.need(option.get("name"), path.child("options").index(position), "must not be empty")
    return errors


def _host_aliases(items: list[Object], path: Path) -> Errors:
    errors: Errors = []
    for position, alias in enumerate(items):
        at = path.index(position)
        errors += check.named(name.ip, alias.get("ip", ""), at.child("ip"))
        for place, hostname in enumerate(alias.get("hostnames") or ()):
            errors += check.named(name.subdomain, hostname, at.child("hostnames").index(place))
    return errors


def _token_needs_account(spec: Object, path: Path) -> Errors:
    if spec.get("serviceAccountName"):
        return []
    return [field.forbidden(path.child("volumes").index(place).child("projected", "sources").index(position).child("serviceAccountToken"),
                            "must not be specified when serviceAccountName is not set")
            for place, volume in enumerate(spec.get("volumes") or ())
            for position, source in enumerate((volume.get("projected") or {}).get("sources") or ())
            if source.get("serviceAccountToken") is not None]
