"""What OpenAPI does not tell of the Go types: which optional fields are pointers, and which fields are written although they are empty.

Go leaves out an empty field when it is marked `omitempty`, but a pointer to an empty value is not empty, and a struct never is. So
`replicas: 0` (a pointer) stays and `hostNetwork: false` (a value) goes, and `status: {}` appears in every Deployment. Definitions are
named by their last two parts (`core.v1.Container`); the rule is first looked up with the definition, then by the field's name alone.
"""
from __future__ import annotations

from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STRING_POINTERS = _words("""
    apiGroup appProtocol completionMode deprecationWarning failurePolicy fsGroupChangePolicy fsGroupPolicy holderIdentity
    hostnameOverride ingressClassName internalTrafficPolicy ipFamilyPolicy labelSelectorPath loadBalancerClass localhostProfile
    managedBy matchPolicy mountPropagation nodeAffinityPolicy nodeTaintsPolicy parameterNotFoundAction pathType
    persistentVolumeName podReplacementPolicy preemptionPolicy preferredHolder procMount reclaimPolicy recursiveReadOnly
    reinvocationPolicy resourceClaimName resourceClaimTemplateName runtimeClassName seLinuxChangePolicy selectPolicy sideEffects
    stopSignal supplementalGroupsPolicy timeZone trafficDistribution unhealthyPodEvictionPolicy volumeBindingMode volumeMode
    volumeAttributesClassName currentVolumeAttributesClassName targetVolumeAttributesClassName x-kubernetes-list-type
    x-kubernetes-map-type zone gmsaCredentialSpec gmsaCredentialSpecName runAsUserName
""")
"""Optional texts that are pointers wherever they occur: an empty one is kept."""

STRING_POINTER_FIELDS = _words("""
    admissionregistration.v1.RuleWithOperations.scope admissionregistration.v1.Rule.scope
    admissionregistration.v1.NamedRuleWithOperations.scope admissionregistration.v1.ServiceReference.path
    admissionregistration.v1.WebhookClientConfig.url admissionregistration.v1.Validation.reason
    apiextensions.v1.ServiceReference.path apiextensions.v1.WebhookClientConfig.url apiextensions.v1.ValidationRule.reason
    core.v1.PersistentVolumeClaimSpec.storageClassName core.v1.Container.restartPolicy core.v1.EphemeralContainer.restartPolicy
    core.v1.HostPathVolumeSource.type core.v1.CSIVolumeSource.fsType core.v1.GRPCAction.service
    core.v1.AzureDiskVolumeSource.cachingMode core.v1.AzureDiskVolumeSource.fsType core.v1.AzureDiskVolumeSource.kind
    core.v1.AzureFilePersistentVolumeSource.secretNamespace core.v1.ISCSIVolumeSource.initiatorName
    core.v1.ISCSIPersistentVolumeSource.initiatorName core.v1.EndpointAddress.nodeName core.v1.TypedObjectReference.namespace
    core.v1.PodDNSConfigOption.value core.v1.ClusterTrustBundleProjection.name core.v1.ClusterTrustBundleProjection.signerName
    core.v1.PortStatus.error core.v1.LoadBalancerIngress.ipMode core.v1.AppArmorProfile.localhostProfile
    core.v1.VolumeMountStatus.recursiveReadOnly core.v1.PodSpec.hostnameOverride discovery.v1.Endpoint.hostname
    discovery.v1.Endpoint.nodeName discovery.v1.Endpoint.zone discovery.v1.EndpointPort.name discovery.v1.EndpointPort.protocol
    discovery.v1.EndpointPort.appProtocol networking.v1.NetworkPolicyPort.protocol
    networking.v1.IngressClassParametersReference.apiGroup networking.v1.IngressClassParametersReference.namespace
    networking.v1.IngressClassParametersReference.scope networking.v1.IngressPortStatus.error
    batch.v1.PodFailurePolicyOnExitCodesRequirement.containerName batch.v1.SuccessPolicyRule.succeededIndexes
    batch.v1.JobStatus.failedIndexes storage.v1.StorageClass.reclaimPolicy storage.v1.VolumeAttachmentSource.persistentVolumeName
    coordination.v1.LeaseSpec.strategy meta.v1.Preconditions.uid meta.v1.Preconditions.resourceVersion
    meta.v1.DeleteOptions.propagationPolicy resource.v1.DeviceAttribute.string resource.v1.DeviceAttribute.version
    resource.v1.ResourceSliceSpec.nodeName resource.v1.Device.nodeName resource.v1.DeviceConstraint.matchAttribute
    resource.v1.DeviceConstraint.distinctAttribute resource.v1.DeviceClassSpec.extendedResourceName
    resource.v1.AllocatedDeviceStatus.shareID resource.v1.DeviceRequestAllocationResult.shareID
    resource.v1.DeviceTaintSelector.driver resource.v1.DeviceTaintSelector.pool resource.v1.DeviceTaintSelector.device
    core.v1.PodSchedulingGroup.podGroupName resource.v1beta2.DeviceTaintSelector.driver resource.v1beta2.DeviceTaintSelector.pool
    resource.v1beta2.DeviceTaintSelector.device resource.v1alpha3.DeviceTaintSelector.driver
    resource.v1alpha3.DeviceTaintSelector.pool resource.v1alpha3.DeviceTaintSelector.device
    resource.v1alpha3.ResourcePoolStatusRequestSpec.poolName resource.v1alpha3.PoolStatus.nodeName
    resource.v1alpha3.PoolStatus.validationError apiserverinternal.v1alpha1.StorageVersionStatus.commonEncodingVersion
""")

INT_VALUES = _words("""
    minReadySeconds initialDelaySeconds periodSeconds successThreshold failureThreshold hostPort nodePort healthCheckNodePort
    generation observedGeneration partition
""")
"""Optional numbers that are no pointers wherever they occur: zero is left out."""

INT_VALUE_FIELDS = _words("""
    core.v1.Probe.timeoutSeconds core.v1.Event.count core.v1.EventSeries.count events.v1.Event.deprecatedCount
    core.v1.ISCSIVolumeSource.lun core.v1.AWSElasticBlockStoreVolumeSource.partition
    core.v1.GCEPersistentDiskVolumeSource.partition core.v1.ContainerStateTerminated.signal core.v1.ContainerImage.sizeBytes
    autoscaling.v1.ScaleSpec.replicas meta.v1.Status.code meta.v1.StatusDetails.retryAfterSeconds
    resource.v1.ExactDeviceRequest.count resource.v1.DeviceSubRequest.count
""")

INT_POINTER_FIELDS = _words("""
    apps.v1.DeploymentStatus.collisionCount apps.v1.DeploymentStatus.terminatingReplicas apps.v1.StatefulSetStatus.collisionCount
    apps.v1.DaemonSetStatus.collisionCount apps.v1.ReplicaSetStatus.terminatingReplicas batch.v1.JobStatus.ready
    batch.v1.JobStatus.terminating autoscaling.v2.HorizontalPodAutoscalerStatus.observedGeneration
    autoscaling.v1.HorizontalPodAutoscalerStatus.observedGeneration
    autoscaling.v1.HorizontalPodAutoscalerStatus.currentCPUUtilizationPercentage
    autoscaling.v2.MetricValueStatus.averageUtilization apps.v1.RollingUpdateStatefulSetStrategy.partition
    storage.v1.VolumeError.errorCode resource.v1alpha3.PoolStatus.resourceSliceCount resource.v1alpha3.PoolStatus.totalDevices
    resource.v1alpha3.PoolStatus.allocatedDevices resource.v1alpha3.PoolStatus.availableDevices
    resource.v1alpha3.PoolStatus.unavailableDevices
""")
"""Numbers in a status that are pointers; the others there are not."""

BOOL_VALUES = _words("""
    readOnly hostNetwork hostPID hostIPC stdin stdinOnce tty unschedulable publishNotReadyAddresses paused globalDefault
    deprecated x-kubernetes-int-or-string x-kubernetes-embedded-resource uniqueItems nullable exclusiveMaximum exclusiveMinimum
    insecureSkipTLSVerify preserveUnknownFields authenticated denied incomplete
""")
"""Optional booleans that are no pointers wherever they occur: false is left out."""

BOOL_VALUE_FIELDS = _words("""
    core.v1.ISCSIVolumeSource.chapAuthDiscovery core.v1.ISCSIVolumeSource.chapAuthSession
    core.v1.ISCSIPersistentVolumeSource.chapAuthDiscovery core.v1.ISCSIPersistentVolumeSource.chapAuthSession
    core.v1.ScaleIOVolumeSource.sslEnabled core.v1.ScaleIOPersistentVolumeSource.sslEnabled
    authorization.v1.SubjectAccessReviewStatus.denied core.v1.CSIPersistentVolumeSource.readOnly
""")

BOOL_POINTER_FIELDS = _words("""
    core.v1.CSIVolumeSource.readOnly core.v1.AzureDiskVolumeSource.readOnly-kubernetes-preserve-unknown-fields
""")

KIND_FIELDS = ("metadata", "spec", "status")
"""Structs that every kind writes although they are empty."""

EMITTED: dict[str, dict[str, Any]] = {
    "admissionregistration.v1.MutatingWebhook": {"clientConfig": {}},
    "admissionregistration.v1.ValidatingWebhook": {"clientConfig": {}},
    "apiextensions.v1.CustomResourceDefinitionCondition": {"lastTransitionTime": None},
    "apiextensions.v1.CustomResourceDefinitionSpec": {"names": {}, "versions": None},
    "apiextensions.v1.CustomResourceDefinitionStatus": {"conditions": None, "acceptedNames": {}, "storedVersions": None},
    "apiregistration.v1.APIServiceCondition": {"lastTransitionTime": None},
    "apiserverinternal.v1alpha1.StorageVersionCondition": {"lastTransitionTime": None},
    "apps.v1.DaemonSetCondition": {"lastTransitionTime": None},
    "apps.v1.DaemonSetSpec": {"template": {}, "updateStrategy": {}},
    "apps.v1.DeploymentCondition": {"lastUpdateTime": None, "lastTransitionTime": None},
    "apps.v1.DeploymentSpec": {"strategy": {}, "template": {}},
    "apps.v1.ReplicaSetCondition": {"lastTransitionTime": None},
    "apps.v1.ReplicaSetSpec": {"template": {}},
    "apps.v1.StatefulSetCondition": {"lastTransitionTime": None},
    "apps.v1.StatefulSetOrdinals": {"start": 0},
    "apps.v1.StatefulSetSpec": {"template": {}, "serviceName": "", "updateStrategy": {}},
    "apps.v1.StatefulSetStatus": {"availableReplicas": 0},
    "apps.v1.ControllerRevision": {"data": None},
    "authentication.v1.TokenRequestSpec": {"audiences": None, "expirationSeconds": None, "boundObjectRef": None},
    "authentication.v1.TokenReviewStatus": {"user": {}},
    "authentication.v1.SelfSubjectReviewStatus": {"userInfo": {}},
    "authorization.v1.SubjectRulesReviewStatus": {"resourceRules": None, "nonResourceRules": None},
    "autoscaling.v1.HorizontalPodAutoscalerSpec": {"scaleTargetRef": {}},
    "autoscaling.v2.HorizontalPodAutoscalerSpec": {"scaleTargetRef": {}},
    "autoscaling.v2.HorizontalPodAutoscalerCondition": {"lastTransitionTime": None},
    "autoscaling.v2.HorizontalPodAutoscalerStatus": {"currentMetrics": None},
    "batch.v1.CronJobSpec": {"jobTemplate": {}},
    "batch.v1.JobCondition": {"lastProbeTime": None, "lastTransitionTime": None},
    "batch.v1.JobSpec": {"template": {}},
    "batch.v1.JobTemplateSpec": {"metadata": {}, "spec": {}},
    "certificates.v1.CertificateSigningRequestCondition": {"lastUpdateTime": None, "lastTransitionTime": None},
    "core.v1.Binding": {"target": {}},
    "core.v1.Container": {"resources": {}},
    "core.v1.ContainerStateRunning": {"startedAt": None},
    "core.v1.ContainerStateTerminated": {"startedAt": None, "finishedAt": None},
    "core.v1.ContainerStatus": {"state": {}, "lastState": {}},
    "core.v1.EphemeralContainer": {"resources": {}},
    "core.v1.Event": {"involvedObject": {}, "source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": None,
                      "reportingComponent": "", "reportingInstance": ""},
    "core.v1.EventSeries": {"lastObservedTime": None},
    "core.v1.LimitRangeSpec": {"limits": None},
    "core.v1.NamespaceCondition": {"lastTransitionTime": None},
    "core.v1.NodeCondition": {"lastHeartbeatTime": None, "lastTransitionTime": None},
    "core.v1.NodeDaemonEndpoints": {"kubeletEndpoint": {}},
    "core.v1.NodeStatus": {"daemonEndpoints": {}, "nodeInfo": {}},
    "core.v1.PersistentVolumeClaimCondition": {"lastProbeTime": None, "lastTransitionTime": None},
    "core.v1.PersistentVolumeClaimSpec": {"resources": {}},
    "core.v1.PersistentVolumeClaimTemplate": {"metadata": {}, "spec": {}},
    "core.v1.PodCondition": {"lastProbeTime": None, "lastTransitionTime": None},
    "core.v1.PodSpec": {"containers": None},
    "core.v1.PodTemplate": {"template": {}},
    "core.v1.PodTemplateSpec": {"metadata": {}, "spec": {}},
    "core.v1.ReplicationControllerCondition": {"lastTransitionTime": None},
    "core.v1.NodeRuntimeHandler": {"name": ""},
    "core.v1.ResourceFieldSelector": {"divisor": "0"},
    "core.v1.TypedLocalObjectReference": {"apiGroup": None},
    "core.v1.TypedObjectReference": {"apiGroup": None},
    "core.v1.ServiceStatus": {"loadBalancer": {}},
    "discovery.v1.Endpoint": {"conditions": {}},
    "discovery.v1.EndpointSlice": {"endpoints": None, "ports": None},
    "events.v1.Event": {"eventTime": None, "regarding": {}, "deprecatedSource": {}, "deprecatedFirstTimestamp": None,
                        "deprecatedLastTimestamp": None},
    "flowcontrol.v1.FlowSchemaCondition": {"lastTransitionTime": None},
    "flowcontrol.v1.FlowSchemaSpec": {"priorityLevelConfiguration": {}},
    "flowcontrol.v1.PriorityLevelConfigurationCondition": {"lastTransitionTime": None},
    "meta.v1.APIGroup": {"preferredVersion": {}},
    "networking.v1.HTTPIngressRuleValue": {"paths": None},
    "networking.v1.IngressStatus": {"loadBalancer": {}},
    "networking.v1.NetworkPolicySpec": {"podSelector": {}},
    "rbac.v1.ClusterRole": {"rules": None},
    "rbac.v1.ClusterRoleBinding": {"roleRef": {}},
    "rbac.v1.Role": {"rules": None},
    "rbac.v1.RoleBinding": {"roleRef": {}},
    "rbac.v1.PolicyRule": {"verbs": None},
    "resource.v1.ResourceSliceSpec": {"pool": {}},
    "resource.v1.ResourceClaimTemplateSpec": {"metadata": {}, "spec": {}},
    "resource.v1.ResourceClaimSpec": {"devices": {}},
    "storage.v1.CSINodeDriver": {"topologyKeys": None},
    "storage.v1.CSINodeSpec": {"drivers": None},
    "storage.v1.VolumeAttachmentSpec": {"source": {}},
    "storage.v1.VolumeError": {"time": None},
    "policy.v1.PodDisruptionBudgetStatus": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
    "scheduling.v1.PriorityClass": {"value": 0},
}
"""Fields written although they are empty: None where a nil slice, map, pointer or time shows as null."""

KEEPS_EMPTY = frozenset({"autoscaling.v2.HPAScalingRules.policies"})
"""Lists for which none at all and an empty one differ in validation, although Go leaves both out when it writes."""

NOT_EMITTED = frozenset({"authentication.v1.TokenReviewSpec.token", "core.v1.PodTemplate.spec", "meta.v1.ObjectMeta.creationTimestamp",
                         "resource.v1alpha3.ResourcePoolStatusRequest.status",
                         "resource.v1alpha3.ResourcePoolStatusRequestStatus.poolCount",
                         "certificates.v1beta1.PodCertificateRequestSpec.stubPKCS10Request"})
"""Required in OpenAPI and still left out when empty."""

ALIASES = {
    "core.v1.ResourceRequirements.limits": "v1.ResourceList", "core.v1.ResourceRequirements.requests": "v1.ResourceList",
    "core.v1.ResourceQuotaSpec.hard": "v1.ResourceList", "core.v1.PodSpec.overhead": "v1.ResourceList",
    "core.v1.PersistentVolumeSpec.capacity": "v1.ResourceList", "core.v1.NodeStatus.capacity": "v1.ResourceList",
    "core.v1.NodeStatus.allocatable": "v1.ResourceList", "core.v1.Container.imagePullPolicy": "v1.PullPolicy",
    "core.v1.PodSpec.restartPolicy": "v1.RestartPolicy", "core.v1.PodSpec.dnsPolicy": "v1.DNSPolicy",
    "core.v1.ServiceSpec.type": "v1.ServiceType",
    "core.v1.ContainerPort.protocol": "v1.Protocol", "core.v1.ServicePort.protocol": "v1.Protocol", "core.v1.Secret.type": "v1.SecretType",
    "core.v1.Toleration.operator": "v1.TolerationOperator", "core.v1.Toleration.effect": "v1.TaintEffect",
    "meta.v1.ObjectMeta.uid": "types.UID", "meta.v1.OwnerReference.uid": "types.UID",
}
"""Names of Go types that OpenAPI does not know, as decoding errors show them."""


def short_name(definition: str) -> str:
    """`core.v1.Container` for `io.k8s.api.core.v1.Container`."""
    return ".".join(definition.split(".")[-3:])


def keeps_zero(short: str, field: str, kind: str) -> bool:
    """Whether an optional scalar is kept when it is zero: it is a pointer in Go."""
    full = f"{short}.{field}"
    if kind == "string":
        return field in STRING_POINTERS or full in STRING_POINTER_FIELDS
    if kind == "boolean":
        return full in BOOL_POINTER_FIELDS or not (field in BOOL_VALUES or full in BOOL_VALUE_FIELDS)
    if full in INT_POINTER_FIELDS:
        return True
    return not (field in INT_VALUES or full in INT_VALUE_FIELDS or short.endswith("Status"))
