"""Every built-in kind, core first and then by the priority of the groups, as discovery lists them."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.admissionregistration import (
    mutatingadmissionpolicy,
    mutatingadmissionpolicybinding,
    mutatingwebhookconfiguration,
    validatingadmissionpolicy,
    validatingadmissionpolicybinding,
    validatingwebhookconfiguration,
)
from kubepy.apiserver.registry.apiextensions import customresourcedefinition
from kubepy.apiserver.registry.apiregistration import apiservice
from kubepy.apiserver.registry.apps import controllerrevision, daemonset, deployment, replicaset, statefulset
from kubepy.apiserver.registry.authentication import selfsubjectreview, tokenreview
from kubepy.apiserver.registry.authorization import (
    localsubjectaccessreview,
    selfsubjectaccessreview,
    selfsubjectrulesreview,
    subjectaccessreview,
)
from kubepy.apiserver.registry.autoscaling import horizontalpodautoscaler, horizontalpodautoscaler_v1
from kubepy.apiserver.registry.batch import cronjob, job
from kubepy.apiserver.registry.certificates import certificatesigningrequest
from kubepy.apiserver.registry.coordination import lease
from kubepy.apiserver.registry.core import (
    binding,
    componentstatus,
    configmap,
    endpoints,
    limitrange,
    namespace,
    node,
    persistentvolume,
    persistentvolumeclaim,
    pod,
    podtemplate,
    replicationcontroller,
    resourcequota,
    secret,
    service,
    serviceaccount,
)
from kubepy.apiserver.registry.core import (
    event as core_event,
)
from kubepy.apiserver.registry.discovery import endpointslice
from kubepy.apiserver.registry.events import event as events_event
from kubepy.apiserver.registry.flowcontrol import flowschema, prioritylevelconfiguration
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.networking import ingress, ingressclass, ipaddress, networkpolicy, servicecidr
from kubepy.apiserver.registry.node import runtimeclass
from kubepy.apiserver.registry.policy import poddisruptionbudget
from kubepy.apiserver.registry.rbac import clusterrole, clusterrolebinding, role, rolebinding
from kubepy.apiserver.registry.resource import deviceclass, resourceclaim, resourceclaimtemplate, resourceslice
from kubepy.apiserver.registry.scheduling import priorityclass
from kubepy.apiserver.registry.storage import (
    csidriver,
    csinode,
    csistoragecapacity,
    storageclass,
    volumeattachment,
    volumeattributesclass,
)

KINDS: tuple[Kind, ...] = (
    binding.KIND,
    componentstatus.KIND,
    configmap.KIND,
    endpoints.KIND,
    core_event.KIND,
    limitrange.KIND,
    namespace.KIND,
    node.KIND,
    persistentvolumeclaim.KIND,
    persistentvolume.KIND,
    pod.KIND,
    podtemplate.KIND,
    replicationcontroller.KIND,
    resourcequota.KIND,
    secret.KIND,
    serviceaccount.KIND,
    service.KIND,
    apiservice.KIND,
    controllerrevision.KIND,
    daemonset.KIND,
    deployment.KIND,
    replicaset.KIND,
    statefulset.KIND,
    events_event.KIND,
    selfsubjectreview.KIND,
    tokenreview.KIND,
    localsubjectaccessreview.KIND,
    selfsubjectaccessreview.KIND,
    selfsubjectrulesreview.KIND,
    subjectaccessreview.KIND,
    horizontalpodautoscaler.KIND,
    horizontalpodautoscaler_v1.KIND,
    cronjob.KIND,
    job.KIND,
    certificatesigningrequest.KIND,
    ingressclass.KIND,
    ingress.KIND,
    ipaddress.KIND,
    networkpolicy.KIND,
    servicecidr.KIND,
    poddisruptionbudget.KIND,
    clusterrolebinding.KIND,
    clusterrole.KIND,
    rolebinding.KIND,
    role.KIND,
    csidriver.KIND,
    csinode.KIND,
    csistoragecapacity.KIND,
    storageclass.KIND,
    volumeattachment.KIND,
    volumeattributesclass.KIND,
    mutatingadmissionpolicy.KIND,
    mutatingadmissionpolicybinding.KIND,
    mutatingwebhookconfiguration.KIND,
    validatingadmissionpolicy.KIND,
    validatingadmissionpolicybinding.KIND,
    validatingwebhookconfiguration.KIND,
    customresourcedefinition.KIND,
    priorityclass.KIND,
    lease.KIND,
    runtimeclass.KIND,
    endpointslice.KIND,
    deviceclass.KIND,
    resourceclaim.KIND,
    resourceclaimtemplate.KIND,
    resourceslice.KIND,
    flowschema.KIND,
    prioritylevelconfiguration.KIND,
)
"""The resource table."""


def by_resource() -> dict[Resource, Kind]:
    """The table by resource."""
    return {kind.resource: kind for kind in KINDS}
