"""Defaults of a pod spec, the same in Pods and in every pod template (`k8s.io/kubernetes/pkg/apis/core/v1/defaults.go`).

What only Pods get (enableServiceLinks, requests from limits) is in `pod`.
"""
from __future__ import annotations

from typing import Any

from kubepy.api.quantity import QuantityError, parse_quantity
from kubepy.api.types import Object
from kubepy.apiserver.registry.core.podspec_gated import drop_projections

_VOLUME_DEFAULTS: dict[str, dict[str, Any]] = {
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": False},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
    "secret": {"defaultMode": 0o644},
    "configMap": {"defaultMode": 0o644},
    "downwardAPI": {"defaultMode": 0o644},
    "projected": {"defaultMode": 0o644},
    "hostPath": {"type": ""},
}


def default_template(template: Object) -> None:
    """Defaults of a `PodTemplateSpec`."""
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Object) -> None:
    """SetDefaults_PodSpec and what hangs below it, in place."""
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    if spec.setdefault("terminationGracePeriodSeconds", 30) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    spec.setdefault("schedulerName", "default-scheduler")
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for container in containers_of(spec, "initContainers", "containers", "ephemeralContainers"):
        default_container(container)
    for volume in spec.get("volumes") or ():
        default_volume(volume)


def containers_of(spec: Object, *lists: str) -> list[Object]:
    """The containers of the named lists of a pod spec."""
    return [container for key in lists for container in spec.get(key) or ()]


def default_container(container: Object) -> None:
    container.setdefault("imagePullPolicy", pull_policy(container.get("image", "")))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if (context := container.get("securityContext")) is not None and "procMount" in context and not context["procMount"]:
        context["procMount"] = "Default"
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        if (reference := source.get("fieldRef")) is not None:
            reference.setdefault("apiVersion", "v1")
        if (reference := source.get("fileKeyRef")) is not None:
            reference.setdefault("optional", False)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe) is not None:
            default_probe(container[probe])
    lifecycle = container.get("lifecycle") or {}
    for hook in ("postStart", "preStop"):
        default_http_get((lifecycle.get(hook) or {}).get("httpGet"))
    default_resources(container.get("resources") or {})


def default_resources(resources: Object) -> None:
    """Quantities are rounded to thousandths."""
    for key in ("limits", "requests"):
        amounts = resources.get(key)
        if amounts:
            round_to_milli(amounts)


def default_host_ports(spec: Object) -> None:
    """With the host's network a container port is a host port; only Pods get this, templates do not."""
    if spec.get("hostNetwork"):
        for container in containers_of(spec, "containers", "initContainers"):
            for port in container.get("ports") or ():
                if not port.get("hostPort") and port.get("containerPort"):
                    port["hostPort"] = port["containerPort"]


def default_requests(resources: Object) -> None:
    """A request that was not given is its limit; only Pods get this, templates do not."""
    limits = resources.get("limits")
    if limits:
        requests = resources.setdefault("requests", {})
        for resource, amount in limits.items():
            requests.setdefault(resource, amount)


def round_to_milli(amounts: Object) -> None:
    for resource, amount in amounts.items():
        try:
            quantity = parse_quantity(str(amount))
        except QuantityError:
            continue
        if (rounded := quantity.rounded_to_milli()) is not quantity:
            amounts[resource] = str(rounded)


def default_probe(probe: Object) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    default_http_get(probe.get("httpGet"))
    if (grpc := probe.get("grpc")) is not None:
        grpc.setdefault("service", "")


def default_http_get(action: Object | None) -> None:
    if action is not None:
        action.setdefault("path", "/")
        action.setdefault("scheme", "HTTP")


def default_volume(volume: Object) -> None:
    sources = [key for key in volume if key != "name"]
    if not sources:
        volume["emptyDir"] = {}
    for source in sources:
        defaults = _VOLUME_DEFAULTS.get(source)
        if defaults and isinstance(volume[source], dict):
            for key, value in defaults.items():
                volume[source].setdefault(key, value)
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _default_field_reference(item)
    for source in (volume.get("projected") or {}).get("sources") or ():
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            _default_field_reference(item)
        if (token := source.get("serviceAccountToken")) is not None:
            token.setdefault("expirationSeconds", 3600)
        drop_projections(source)
        if (certificate := source.get("podCertificate")) is not None:
            certificate.setdefault("maxExpirationSeconds", 86400)
    if (image := volume.get("image")) is not None:
        image.setdefault("pullPolicy", pull_policy(image.get("reference", "")))
    template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if template:
        default_claim_spec(template.setdefault("spec", {}))


def default_claim_spec(spec: Object) -> None:
    """SetDefaults_PersistentVolumeClaimSpec."""
    spec.setdefault("volumeMode", "Filesystem")


def pull_policy(image: str) -> str:
    """Always for the tag latest, given or implied; IfNotPresent otherwise, also for what is no image reference."""
    tag = image_tag(image)
    return "Always" if tag == "latest" else "IfNotPresent"


def image_tag(image: str) -> str:
    """The tag of an image reference: latest when there is neither tag nor digest, "" for a digest alone or no reference at all."""
    body, _, digest = image.partition("@")
    head, slash, last = body.rpartition("/")
    repository, colon, tag = last.partition(":")
    path = f"{head}{slash}{repository}"
    if not repository or any(char.isspace() for char in image) or any(char.isupper() for char in path.split("/", 1)[-1]):
        return ""
    if colon:
        return tag
    return "" if digest else "latest"


def _default_field_reference(item: Object) -> None:
    if (reference := item.get("fieldRef")) is not None:
        reference.setdefault("apiVersion", "v1")
