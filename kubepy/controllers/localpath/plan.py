"""What a claim may have, the volume made for it, what becomes of a volume."""
from __future__ import annotations

from pathlib import Path

from kubepy.api.quantity import quantity
from kubepy.api.types import Object

PROVISIONER = "kubepy.io/local-path"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
ASKED_OF = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
HOSTNAME = "kubernetes.io/hostname"


def notes(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def is_asked(claim: Object, storage_class: Object | None, node: str, others: bool = False) -> bool:
    """The claim waits for us, on this node (or on any: then whoever is first); with `others`, on other nodes too."""
    if storage_class is None or storage_class.get("provisioner") != PROVISIONER or claim["spec"].get("volumeName"):
        return False
    if claim["metadata"].get("deletionTimestamp") is not None or not any(notes(claim).get(key) == PROVISIONER for key in ASKED_OF):
        return False
    selected = notes(claim).get(SELECTED_NODE)
    if selected:
        return others or selected == node
    return bool(storage_class.get("volumeBindingMode") != "WaitForFirstConsumer")


def refusal(claim: Object) -> str | None:
    """Why a claim can never be met here."""
    spec = claim["spec"]
    if spec.get("selector"):
        return "claim.Spec.Selector is not supported"
    if spec.get("volumeMode") == "Block":
        return "block volume provisioning is not supported"
    if spec.get("dataSource") or spec.get("dataSourceRef"):
        return "data sources are not supported"
    if unsupported := set(spec.get("accessModes") or ()) - {"ReadWriteOnce", "ReadWriteOncePod"}:
        return f"only the access modes ReadWriteOnce and ReadWriteOncePod are supported, not {', '.join(sorted(unsupported))}"
    return None


def volume_name(claim: Object) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def directory(base: Path, claim: Object) -> Path:
    """One level below `base`, with a name that tells an administrator whose it is."""
    metadata = claim["metadata"]
    return base / f"{volume_name(claim)}_{metadata['namespace']}_{metadata['name']}"[:255]


def volume(claim: Object, storage_class: Object, hostname: str, path: Path, *, here: bool = True) -> Object:
    """On another node the directory is made by its kubelet, when it is first mounted."""
    metadata, spec = claim["metadata"], claim["spec"]
    found: Object = {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": volume_name(claim), "annotations": {PROVISIONED_BY: PROVISIONER}, "finalizers": [FINALIZER]},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]}, "accessModes": spec.get("accessModes") or [],
            "volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
            "storageClassName": storage_class["metadata"]["name"],
            **({"local": {"path": str(path)}} if here else {"hostPath": {"path": str(path), "type": "DirectoryOrCreate"}}),
            "claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": metadata["namespace"], "name": metadata["name"],
                         "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": HOSTNAME, "operator": "In", "values": [hostname]}]}]}}}}
    if storage_class.get("mountOptions"):
        found["spec"]["mountOptions"] = storage_class["mountOptions"]
    return found


def is_ours(volume: Object, hostname: str, base: Path) -> bool:
    """Made by this provisioner, on this node, in this directory."""
    if notes(volume).get(PROVISIONED_BY) != PROVISIONER:
        return False
    path = path_of(volume)
    return path is not None and Path(path).parent == base and Path(path).name.startswith("pvc-") and host_of(volume) == hostname


def path_of(volume: Object) -> str | None:
    return next((volume["spec"][kind]["path"] for kind in ("local", "hostPath") if volume["spec"].get(kind)), None)


def host_of(volume: Object) -> str | None:
    """The one host that the volume is on."""
    terms = (((volume["spec"].get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms")) or ()
    hosts = [value for term in terms for item in term.get("matchExpressions") or () if item["key"] == HOSTNAME for value in item["values"]]
    return hosts[0] if len(hosts) == 1 else None


def is_to_be_removed(volume: Object) -> bool:
    """Released (or deleted by hand while no claim holds it), and not to be kept."""
    spec, phase = volume["spec"], (volume.get("status") or {}).get("phase")
    return spec.get("persistentVolumeReclaimPolicy") == "Delete" and phase in ("Released", "Failed")


def grown(volume: Object, claim: Object | None) -> str | None:
    """The size a bound claim asks for beyond what its volume has."""
    if claim is None or (claim.get("status") or {}).get("phase") != "Bound":
        return None
    if claim["spec"].get("volumeName") != volume["metadata"]["name"]:
        return None
    wanted = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
    has = min(quantity((volume["spec"].get("capacity") or {}).get("storage")),
              quantity(((claim.get("status") or {}).get("capacity") or {}).get("storage")))
    return wanted if wanted and quantity(wanted) > has else None
