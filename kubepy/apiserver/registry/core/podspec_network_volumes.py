"""Validation of volumes that come over a network or from a cloud, as pods and persistent volumes name them.

Where the two differ (secrets with a namespace, a portal's name) the persistent volume's check is the one that ends in `_pv`.
"""
from __future__ import annotations

import re

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

_PARTITION = "must be between 1 and 255, inclusive"  # zero is accepted all the same
_LUN = "must be between 0 and 255, inclusive"
_IQN_FORMS = {"iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$"), "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$"),
              "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$")}
_ISCSI_TOO_LONG = ("Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is "
                   "specified.")
_FORMAT = "must be valid format"
_MANAGED_DISK = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB_DISK = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
_HOSTS = "must be a host:port pair or multiple pairs separated by commas"


def nfs(source: Object, path: Path) -> Errors:
    errors = _needs(source, path, "server", "path")
    if not source.get("path", "").startswith("/"):
        errors.append(field.invalid(path.child("path"), source.get("path", ""), "must be an absolute path"))
    return errors


def gce(source: Object, path: Path) -> Errors:
    return _needs(source, path, "pdName") + _partition(source, path)


def aws(source: Object, path: Path) -> Errors:
    return _needs(source, path, "volumeID") + _partition(source, path)


def iscsi(source: Object, path: Path) -> Errors:
    return _iscsi(source, path, f"{_FORMAT} starting with iqn, eui, or naa")


def iscsi_name_length(source: Object, volume: str, path: Path) -> Errors:
    """A pod's volume is blamed by its name, `path` being the volume's."""
    if source.get("initiatorName") is not None and len(f"{volume}:{source.get('targetPortal', '')}".encode()) > 64:
        return [field.invalid(path.child("name"), volume, _ISCSI_TOO_LONG)]
    return []


def iscsi_pv(source: Object, path: Path, volume: str) -> Errors:
    errors = _iscsi(source, path, _FORMAT)
    if iscsi_name_length(source, volume, path):
        errors.insert(0 if source.get("targetPortal") else 1,
                      field.invalid(path.child("targetportal"), source.get("targetPortal", ""), _ISCSI_TOO_LONG))
    return errors + _secret_name(source, path)


def _iscsi(source: Object, path: Path, unknown_form: str) -> Errors:
    errors = _needs(source, path, "targetPortal")
    iqn, initiator = source.get("iqn", ""), source.get("initiatorName")
    errors += _iscsi_name(iqn, path.child("iqn"), unknown_form) if iqn else [field.required(path.child("iqn"))]
    errors += _number(source.get("lun"), path.child("lun"), _LUN)
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        errors.append(field.required(path.child("secretRef")))
    if initiator is not None:
        errors += _iscsi_name(initiator, path.child("initiatorname"), unknown_form)
    return errors


def _iscsi_name(text: str, path: Path, unknown_form: str) -> Errors:
    form = _IQN_FORMS.get(text[:3])
    if form is None:
        return [field.invalid(path, text, unknown_form)]
    return [] if form.search(text) else [field.invalid(path, text, _FORMAT)]


def glusterfs(source: Object, path: Path) -> Errors:
    return _needs(source, path, "endpoints", "path")


def glusterfs_pv(source: Object, path: Path) -> Errors:
    errors, namespace, at = glusterfs(source, path), source.get("endpointsNamespace"), path.child("endpointsNamespace")
    if namespace == "":
        errors.append(field.invalid(at, namespace, "if the endpointnamespace is set, it must be a valid namespace name"))
    elif namespace is not None:
        errors += check.named(name.label, namespace, at)
    return errors


def flocker(source: Object, path: Path) -> Errors:
    dataset, uid = source.get("datasetName", ""), source.get("datasetUUID")
    errors: Errors = []
    if not dataset and not uid:
        errors.append(field.required(path, "one of datasetName and datasetUUID is required"))
    if dataset and uid:
        errors.append(field.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
    if "/" in dataset:
        errors.append(field.invalid(path.child("datasetName"), dataset, "must not contain '/'"))
    return errors


def rbd(source: Object, path: Path) -> Errors:
    return _needs(source, path, "monitors", "image")


def cinder(source: Object, path: Path) -> Errors:
    return _needs(source, path, "volumeID") + _secret_name(source, path)


def cinder_pv(source: Object, path: Path) -> Errors:
    return _needs(source, path, "volumeID") + _secret_name(source, path, namespaced=True)


def cephfs(source: Object, path: Path) -> Errors:
    return _needs(source, path, "monitors")


def quobyte(source: Object, path: Path) -> Errors:
    errors: Errors = []
    registry = source.get("registry", "")
    if not registry:
        errors.append(field.required(path.child("registry"), _HOSTS))
    elif len(source.get("tenant", "")) >= 65:
        errors.append(field.required(path.child("tenant"), "must be a UUID and may not exceed a length of 64 characters"))
    else:
        errors += [field.invalid(path.child("registry"), registry, _HOSTS) for pair in registry.split(",") if not _host_and_port(pair)]
    return errors + _needs(source, path, "volume")


def _host_and_port(text: str) -> bool:
    """Whether Go's net.SplitHostPort takes it."""
    return re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*):[^:\[\]]*", text) is not None


def fibre_channel(source: Object, path: Path) -> Errors:
    worldwide, ids = source.get("targetWWNs") or [], source.get("wwids") or []
    errors: Errors = []
    if not worldwide and not ids:
        errors.append(field.required(path.child("targetWWNs"), "must specify either targetWWNs or wwids, but not both"))
    if worldwide and ids:
        errors.append(field.invalid(path.child("targetWWNs"), worldwide, "targetWWNs and wwids can not be specified simultaneously"))
    if worldwide and source.get("lun") is None:
        errors.append(field.required(path.child("lun"), "lun is required if targetWWNs is specified"))
    elif worldwide:
        errors += _number(source["lun"], path.child("lun"), _LUN)
    return errors


def flex(source: Object, path: Path) -> Errors:
    errors = _needs(source, path, "driver")
    for key in sorted(source.get("options") or {}):
        if f".{key.partition('/')[0].lower()}".endswith((".kubernetes.io", ".k8s.io")):
            errors.append(field.invalid(path.child("options").key(key), key, "kubernetes.io and k8s.io namespaces are reserved"))
    return errors


def azure_file(source: Object, path: Path) -> Errors:
    return _needs(source, path, "secretName", "shareName")


def azure_file_pv(source: Object, path: Path) -> Errors:
    errors = azure_file(source, path)
    if source.get("secretNamespace") == "":
        errors.append(field.required(path.child("secretNamespace")))
    return errors


def vsphere(source: Object, path: Path) -> Errors:
    return _needs(source, path, "volumePath")


def photon(source: Object, path: Path) -> Errors:
    return _needs(source, path, "pdID")


def portworx(source: Object, path: Path) -> Errors:
    return _needs(source, path, "volumeID")


def azure_disk(source: Object, path: Path) -> Errors:
    errors = _needs(source, path, "diskName", "diskURI")
    caching, kind, uri = source.get("cachingMode"), source.get("kind"), source.get("diskURI", "")
    if caching is not None:
        errors += check.one_of(caching, path.child("cachingMode"), ("None", "ReadOnly", "ReadWrite"))
    if kind is not None:
        errors += check.one_of(kind, path.child("kind"), ("Dedicated", "Managed", "Shared"))
        if kind == "Managed" and not uri.startswith("/subscriptions/"):
            errors.append(field.not_supported(path.child("diskURI"), uri, (_MANAGED_DISK,)))
        if kind != "Managed" and not uri.startswith("https://"):
            errors.append(field.not_supported(path.child("diskURI"), uri, (_BLOB_DISK,)))
    return errors


def storageos(source: Object, path: Path) -> Errors:
    return _storageos(source, path) + _secret_name(source, path)


def storageos_pv(source: Object, path: Path) -> Errors:
    return _storageos(source, path) + _secret_name(source, path, namespaced=True)


def _storageos(source: Object, path: Path) -> Errors:
    errors = check.need_named(name.label, source.get("volumeName", ""), path.child("volumeName"))
    if source.get("volumeNamespace"):
        errors += check.named(name.label, source["volumeNamespace"], path.child("volumeNamespace"))
    return errors


def scale_io(source: Object, path: Path) -> Errors:
    return _needs(source, path, "gateway", "system", "volumeName")


def csi(source: Object, path: Path) -> Errors:
    errors = csi_driver_name(source.get("driver", ""), path.child("driver"))
    reference = source.get("nodePublishSecretRef")
    if reference is not None:
        secret = reference.get("name", "")
        errors += check.named(name.subdomain, secret, path.child("name")) if secret else \
            [field.required(path.child("nodePublishSecretRef", "name"))]
    return errors


def csi_pv(source: Object, path: Path) -> Errors:
    errors = csi_driver_name(source.get("driver", ""), path.child("driver")) + _needs(source, path, "volumeHandle")
    for key in ("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"):
        if (secret := source.get(key)) is not None:
            errors += check.need_named(name.subdomain, secret.get("name", ""), path.child(key, "name"))
            errors += check.need_named(name.label, secret.get("namespace", ""), path.child(key, "namespace"))
    return errors


def csi_driver_name(driver: str, path: Path) -> Errors:
    """ValidateCSIDriverName."""
    if not driver:
        return [field.required(path)]
    errors = [] if len(driver.encode()) <= 63 else [field.too_long(path, 63)]
    return errors + [field.invalid(path, driver, message) for message in name.subdomain(driver.lower())]


def _needs(source: Object, path: Path, *keys: str) -> Errors:
    return [field.required(path.child(key)) for key in keys if not source.get(key)]


def _secret_name(source: Object, path: Path, *, namespaced: bool = False) -> Errors:
    if (reference := source.get("secretRef")) is None:
        return []
    return _needs(reference, path.child("secretRef"), *(("name", "namespace") if namespaced else ("name",)))


def _partition(source: Object, path: Path) -> Errors:
    return _number(source.get("partition"), path.child("partition"), _PARTITION)


def _number(value: int | None, path: Path, why: str) -> Errors:
    return [field.invalid(path, value, why)] if value is not None and not 0 <= value <= 255 else []
