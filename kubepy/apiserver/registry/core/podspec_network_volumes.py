"""Validation of volumes that come over a network or from a cloud, as pods and persistent volumes name them."""
from __future__ import annotations

import re

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

_BYTE = "must be between 0 and 255, inclusive"
_DRIVER = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def nfs(source: Object, path: Path) -> Errors:
    errors = check.need(source.get("server"), path.child("server"))
    errors += check.need(source.get("path"), path.child("path"))
    if not source.get("path", "").startswith("/"):
        errors.append(field.invalid(path.child("path"), source.get("path", ""), "must be an absolute path"))
    return errors


def gce(source: Object, path: Path) -> Errors:
    return _needs(source, path, "pdName") + _byte(source.get("partition"), path.child("partition"))


def aws(source: Object, path: Path) -> Errors:
    return _needs(source, path, "volumeID") + _byte(source.get("partition"), path.child("partition"))


def iscsi(source: Object, path: Path) -> Errors:
    errors = _needs(source, path, "targetPortal")
    iqn = source.get("iqn", "")
    if not iqn:
        errors.append(field.required(path.child("iqn")))
    elif not iqn.startswith(("iqn", "eui", "naa")) or not re.fullmatch(
            r"(iqn\.\d{4}-\d{2}\.([0-9a-z.\-]+)(:([^,;*&$|\s]+))?)|(eui\.[0-9A-Fa-f]{16})|(naa\.[0-9A-Fa-f]{16,32})", iqn, re.IGNORECASE):
        errors.append(field.invalid(path.child("iqn"), iqn, "must be valid format"))
    errors += _byte(source.get("lun"), path.child("lun"))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and not source.get("secretRef"):
        errors.append(field.required(path.child("secretRef")))
    return errors


def glusterfs(source: Object, path: Path) -> Errors:
    return _needs(source, path, "endpoints", "path")


def flocker(source: Object, path: Path) -> Errors:
    if not source.get("datasetName") and not source.get("datasetUUID"):
        return [field.required(path, "one of datasetName and datasetUUID is required")]
    if source.get("datasetName") and source.get("datasetUUID"):
        return [field.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")]
    if "/" in source.get("datasetName", ""):
        return [field.invalid(path.child("datasetName"), source["datasetName"], "must not contain '/'")]
    return []


def rbd(source: Object, path: Path) -> Errors:
    return _needs(source, path, "monitors", "image")


def cinder(source: Object, path: Path) -> Errors:
    errors = _needs(source, path, "volumeID")
    if (reference := source.get("secretRef")) is not None and not reference.get("name"):
        errors.append(field.required(path.child("secretRef", "name")))
    return errors


def cephfs(source: Object, path: Path) -> Errors:
    return _needs(source, path, "monitors")


def quobyte(source: Object, path: Path) -> Errors:
    errors = []
    if not source.get("registry"):
        errors.append(field.required(path.child("registry"), "must be a host:port pair or multiple pairs separated by commas"))
    elif any(":" not in pair for pair in source["registry"].split(",")):
        errors.append(field.invalid(path.child("registry"), source["registry"],
                                    "must be a host:port pair or multiple pairs separated by commas"))
    return errors + _needs(source, path, "volume")


def fibre_channel(source: Object, path: Path) -> Errors:
    worldwide, ids = source.get("targetWWNs"), source.get("wwids")
    if bool(worldwide) == bool(ids):
        detail = "must specify either targetWWNs or wwids, but not both"
        return [field.required(path.child("targetWWNs"), detail)] if not worldwide else \
            [field.invalid(path.child("targetWWNs"), worldwide, detail)]
    if worldwide:
        if source.get("lun") is None:
            return [field.required(path.child("lun"), "lun is required if targetWWNs is specified")]
        return _byte(source["lun"], path.child("lun"))
    return []


def flex(source: Object, path: Path) -> Errors:
    errors = _needs(source, path, "driver")
    for key in source.get("options") or {}:
        domain = key.partition("/")[0]
        if "/" in key and (domain == "kubernetes.io" or domain.endswith((".kubernetes.io", ".k8s.io")) or domain == "k8s.io"):
            errors.append(field.invalid(path.child("options").key(key), key,
                                        "the kubernetes.io and k8s.io namespaces are reserved"))
    return errors


def azure_file(source: Object, path: Path) -> Errors:
    errors = _needs(source, path, "secretName", "shareName")
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
    errors += check.one_of(source.get("cachingMode", "ReadWrite"), path.child("cachingMode"), ("None", "ReadOnly", "ReadWrite"))
    kind, uri = source.get("kind", "Shared"), source.get("diskURI", "")
    errors += check.one_of(kind, path.child("kind"), ("Dedicated", "Managed", "Shared"))
    if kind == "Managed" and uri and not uri.startswith("/subscriptions"):
        errors.append(field.not_supported(path.child("diskURI"), uri,
                                          ("/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",)))
    if kind != "Managed" and uri and not uri.startswith("https://"):
        errors.append(field.not_supported(path.child("diskURI"), uri,
                                          ("https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",)))
    return errors


def storageos(source: Object, path: Path) -> Errors:
    errors = check.need_named(name.label, source.get("volumeName", ""), path.child("volumeName"))
    if source.get("volumeNamespace"):
        errors += check.named(name.label, source["volumeNamespace"], path.child("volumeNamespace"))
    if (reference := source.get("secretRef")) is not None and not reference.get("name"):
        errors.append(field.required(path.child("secretRef", "name")))
    return errors


def scale_io(source: Object, path: Path) -> Errors:
    return _needs(source, path, "gateway", "system", "volumeName")


def csi(source: Object, path: Path) -> Errors:
    errors = csi_driver_name(source.get("driver", ""), path.child("driver"))
    reference = source.get("nodePublishSecretRef")
    if reference is not None and not reference.get("name"):
        errors.append(field.required(path.child("nodePublishSecretRef", "name")))
    return errors


def csi_driver_name(driver: str, path: Path) -> Errors:
    """ValidateCSIDriverName."""
    if not driver:
        return [field.required(path)]
    errors = [] if len(driver) <= 63 else [field.too_long(path, 63)]
    return errors + [field.invalid(path, driver, message) for message in name.subdomain(driver.lower())]


def _needs(source: Object, path: Path, *keys: str) -> Errors:
    return [field.required(path.child(key)) for key in keys if not source.get(key)]


def _byte(value: int | None, path: Path) -> Errors:
    return [field.invalid(path, value, _BYTE)] if value is not None and not 0 <= value <= 255 else []
