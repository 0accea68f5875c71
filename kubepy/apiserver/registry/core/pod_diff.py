"""What an update of a pod changed, as Kubernetes shows it: a unified diff of the Go values, printed as JSON with every field.

`_TYPES` has the fields of the internal types in their order, each with what it is when it is not given: text `""`, a number `0`, a flag
`false`, and null for pointers, lists and maps. `Name=key` stands for a field whose name is not its key's with a capital letter; what
follows a colon is the type within. Known difference: types that are not listed are printed with the fields that are there.
"""
from __future__ import annotations

import difflib
import json
from typing import Any

from kubepy.api.types import Object

_TEXT, _NUMBER, _FLAG = "", 0, False
_TYPES = {
    "PodSpec": """*Volumes:Volume *InitContainers:Container *Containers:Container *EphemeralContainers:EphemeralContainer
        "RestartPolicy *TerminationGracePeriodSeconds *ActiveDeadlineSeconds "DNSPolicy=dnsPolicy *NodeSelector "ServiceAccountName
        *AutomountServiceAccountToken "NodeName *SecurityContext:PodSecurityContext *ImagePullSecrets:Reference "Hostname "Subdomain
        *SetHostnameAsFQDN *Affinity "SchedulerName *Tolerations:Toleration *HostAliases:HostAlias "PriorityClassName *Priority
        *PreemptionPolicy *DNSConfig=dnsConfig:DNSConfig *ReadinessGates:Gate *RuntimeClassName *Overhead *EnableServiceLinks
        *TopologySpreadConstraints:Spread *OS=os:Reference *SchedulingGates:Reference *ResourceClaims:Claim *Resources:Resources
        *HostnameOverride *SchedulingGroup""",
    "Container": """"Name "Image *Command *Args "WorkingDir *Ports:Port *EnvFrom:EnvFrom *Env:Env .Resources:Resources
        *ResizePolicy:ResizePolicy *RestartPolicy *RestartPolicyRules *VolumeMounts:Mount *VolumeDevices *LivenessProbe:Probe
        *ReadinessProbe:Probe *StartupProbe:Probe *Lifecycle:Lifecycle "TerminationMessagePath "TerminationMessagePolicy
        "ImagePullPolicy *SecurityContext:SecurityContext !Stdin !StdinOnce !TTY=tty""",
    "Port": '"Name #HostPort #ContainerPort "Protocol "HostIP',
    "Env": '"Name "Value *ValueFrom:EnvSource',
    "EnvSource": "*FieldRef:FieldRef *ResourceFieldRef *ConfigMapKeyRef:KeyRef *SecretKeyRef:KeyRef *FileKeyRef",
    "FieldRef": '"APIVersion=apiVersion "FieldPath',
    "KeyRef": '"Name "Key *Optional',
    "EnvFrom": '"Prefix *ConfigMapRef:OptionalRef *SecretRef:OptionalRef',
    "OptionalRef": '"Name *Optional',
    "Reference": '"Name',
    "Resources": "*Limits *Requests *Claims",
    "ResizePolicy": '"ResourceName "RestartPolicy',
    "Mount": '"Name !ReadOnly *RecursiveReadOnly "MountPath "SubPath *MountPropagation "SubPathExpr',
    "Probe": """*Exec:Exec *HTTPGet=httpGet:HTTPGet *TCPSocket=tcpSocket:TCPSocket *GRPC=grpc:GRPC #InitialDelaySeconds
        #TimeoutSeconds #PeriodSeconds #SuccessThreshold #FailureThreshold *TerminationGracePeriodSeconds""",
    "Lifecycle": "*PostStart:Handler *PreStop:Handler *StopSignal",
    "Handler": "*Exec:Exec *HTTPGet=httpGet:HTTPGet *TCPSocket=tcpSocket:TCPSocket *Sleep:Sleep",
    "HTTPGet": '"Path #Port "Host "Scheme *HTTPHeaders=httpHeaders:Header',
    "Header": '"Name "Value',
    "Exec": "*Command",
    "GRPC": "#Port *Service",
    "Sleep": "#Seconds",
    "Seccomp": '"Type *LocalhostProfile',
    "SELinux": '"User "Role "Type "Level',
    "DNSConfig": "*Nameservers *Searches *Options:DNSOption",
    "DNSOption": '"Name *Value',
    "Gate": '"ConditionType',
    "Claim": '"Name *ResourceClaimName *ResourceClaimTemplateName',
    "TCPSocket": '#Port "Host',
    "SecurityContext": """*Capabilities:Capabilities *Privileged *SELinuxOptions=seLinuxOptions:SELinux *WindowsOptions *RunAsUser
        *RunAsGroup *RunAsNonRoot *ReadOnlyRootFilesystem *AllowPrivilegeEscalation *ProcMount *SeccompProfile:Seccomp
        *AppArmorProfile:Seccomp""",
    "Capabilities": "*Add *Drop",
    "PodSecurityContext": """!HostNetwork !HostPID !HostIPC *ShareProcessNamespace *HostUsers
        *SELinuxOptions=seLinuxOptions:SELinux *WindowsOptions *RunAsUser *RunAsGroup *RunAsNonRoot *SupplementalGroups
        *SupplementalGroupsPolicy *FSGroup=fsGroup *FSGroupChangePolicy=fsGroupChangePolicy *Sysctls:Header *SeccompProfile:Seccomp
        *AppArmorProfile:Seccomp *SELinuxChangePolicy=seLinuxChangePolicy""",
    "Toleration": '"Key "Operator "Value "Effect *TolerationSeconds',
    "HostAlias": '"IP=ip *Hostnames',
    "Spread": """#MaxSkew "TopologyKey "WhenUnsatisfiable *LabelSelector *MinDomains *NodeAffinityPolicy *NodeTaintsPolicy
        *MatchLabelKeys""",
    "Volume": """"Name *HostPath:HostPath *EmptyDir:EmptyDir *GCEPersistentDisk=gcePersistentDisk
        *AWSElasticBlockStore=awsElasticBlockStore *GitRepo *Secret:SecretVolume *NFS=nfs *ISCSI=iscsi *Glusterfs
        *PersistentVolumeClaim:ClaimVolume *RBD=rbd *Quobyte *FlexVolume *Cinder *CephFS=cephfs *Flocker *DownwardAPI=downwardAPI
        *FC=fc *AzureFile *ConfigMap:ConfigMapVolume *VsphereVolume *AzureDisk *PhotonPersistentDisk *Projected:Projected
        *PortworxVolume *ScaleIO=scaleIO *StorageOS=storageos *CSI=csi *Ephemeral *Image""",
    "HostPath": '"Path *Type',
    "EmptyDir": '"Medium *SizeLimit',
    "SecretVolume": '"SecretName *Items *DefaultMode *Optional',
    "ConfigMapVolume": '"Name *Items *DefaultMode *Optional',
    "ClaimVolume": '"ClaimName !ReadOnly',
    "Projected": "*Sources:Projection *DefaultMode",
    "Projection": """*Secret:ProjectedItems *DownwardAPI=downwardAPI:ProjectedFields *ConfigMap:ProjectedItems
        *ServiceAccountToken:ProjectedToken *ClusterTrustBundle *PodCertificate""",
    "ProjectedItems": '"Name *Items:Item *Optional',
    "Item": '"Key "Path *Mode',
    "ProjectedFields": "*Items:FieldItem",
    "FieldItem": '"Path *FieldRef:FieldRef *ResourceFieldRef *Mode',
    "ProjectedToken": '"Audience #ExpirationSeconds "Path',
}
_TYPES["EphemeralContainer"] = _TYPES["Container"] + ' "TargetContainerName'
_ZEROS: dict[str, Any] = {"*": None, '"': _TEXT, "#": _NUMBER, "!": _FLAG, ".": None}
_ON_HOST = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")


def pod_diff(old: Object, new: Object) -> str:
    """Of two pod specs."""
    return _diff("PodSpec", _internal(old), _internal(new))


def ephemeral_diff(old: Object, new: Object) -> str:
    """Of two ephemeral containers."""
    return _diff("EphemeralContainer", old, new)


def _internal(spec: Object) -> Object:
    """The spec with what Go's internal type has in its security context."""
    own = {key: spec[key] for key in _ON_HOST if key in spec}
    context = spec.get("securityContext")
    return spec if context is None and not own else {**spec, "securityContext": {**(context or {}), **own}}


def _diff(kind: str, old: Object, new: Object) -> str:
    before, after = (_lines(_printed(kind, value)) for value in (old, new))
    return "".join(list(difflib.unified_diff(before, after))[2:])


def _lines(value: Any) -> list[str]:
    """Of the text that Go's encoder writes."""
    text = json.dumps(value, indent=1, ensure_ascii=False).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return [f"{line}\n" for line in text.split("\n")]


def _printed(kind: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_printed(kind, item) for item in value]
    if not isinstance(value, dict):
        return value
    if kind not in _TYPES:
        return {key: _printed("", value[key]) for key in sorted(value)} if not kind else value
    found: Object = {}
    for text in _TYPES[kind].split():
        mark, (names, _, inner) = text[0], text[1:].partition(":")
        name, _, key = names.partition("=")
        given = value.get(key or name[0].lower() + name[1:])
        if mark == "." and given is None:
            given = {}
        found[name] = _ZEROS[mark] if given is None else _printed(inner, given)
    return found
