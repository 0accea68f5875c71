"""Which fields of the API keep an explicit zero, and which structures are always written: what the published schema does not say.

A Go server drops zero values of plain optional fields (`hostNetwork: false`) and keeps those of pointers (`replicas: 0`); it always
writes embedded structures (`status: {}`) and never absent pointers. Names are `definition: fields`.
"""
from __future__ import annotations

from functools import cache

_POINTERS = """
core.v1.AzureDiskVolumeSource: cachingMode fsType readOnly kind
core.v1.AzureFilePersistentVolumeSource: secretNamespace
core.v1.CSIVolumeSource: readOnly fsType
core.v1.ClusterTrustBundleProjection: name signerName optional
core.v1.ConfigMap: immutable
core.v1.ConfigMapEnvSource: optional
core.v1.ConfigMapKeySelector: optional
core.v1.ConfigMapProjection: optional
core.v1.ConfigMapVolumeSource: optional defaultMode
core.v1.Container: restartPolicy
core.v1.ContainerStatus: started stopSignal
core.v1.DownwardAPIVolumeFile: mode
core.v1.DownwardAPIVolumeSource: defaultMode
core.v1.EndpointAddress: nodeName
core.v1.EndpointPort: appProtocol
core.v1.EphemeralContainer: restartPolicy
core.v1.FCVolumeSource: lun
core.v1.FileKeySelector: optional
core.v1.GRPCAction: service
core.v1.GlusterfsPersistentVolumeSource: endpointsNamespace
core.v1.HostPathVolumeSource: type
core.v1.ISCSIPersistentVolumeSource: initiatorName
core.v1.ISCSIVolumeSource: initiatorName
core.v1.KeyToPath: mode
core.v1.Lifecycle: stopSignal
core.v1.LoadBalancerIngress: ipMode
core.v1.LocalVolumeSource: fsType
core.v1.NodeFeatures: supplementalGroupsPolicy
core.v1.NodeRuntimeHandlerFeatures: recursiveReadOnlyMounts userNamespaces
core.v1.NodeSwapStatus: capacity
core.v1.PersistentVolumeClaimSpec: storageClassName volumeMode volumeAttributesClassName
core.v1.PersistentVolumeClaimStatus: currentVolumeAttributesClassName
core.v1.PersistentVolumeSpec: volumeMode volumeAttributesClassName
core.v1.PodCertificateProjection: maxExpirationSeconds
core.v1.PodDNSConfigOption: value
core.v1.PodResourceClaim: resourceClaimName resourceClaimTemplateName
core.v1.PodResourceClaimStatus: resourceClaimName
core.v1.PodSecurityContext: runAsUser runAsGroup runAsNonRoot fsGroup fsGroupChangePolicy supplementalGroupsPolicy seLinuxChangePolicy
core.v1.PodSpec: terminationGracePeriodSeconds activeDeadlineSeconds automountServiceAccountToken shareProcessNamespace priority \
runtimeClassName enableServiceLinks preemptionPolicy setHostnameAsFQDN hostUsers hostnameOverride
core.v1.PortStatus: error
core.v1.Probe: terminationGracePeriodSeconds
core.v1.ProjectedVolumeSource: defaultMode
core.v1.ReplicationControllerSpec: replicas
core.v1.SeccompProfile: localhostProfile
core.v1.AppArmorProfile: localhostProfile
core.v1.Secret: immutable
core.v1.SecretEnvSource: optional
core.v1.SecretKeySelector: optional
core.v1.SecretProjection: optional
core.v1.SecretVolumeSource: optional defaultMode
core.v1.SecurityContext: privileged runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem allowPrivilegeEscalation procMount
core.v1.ServiceAccount: automountServiceAccountToken
core.v1.ServiceAccountTokenProjection: expirationSeconds
core.v1.ServicePort: appProtocol
core.v1.ServiceSpec: ipFamilyPolicy allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution
core.v1.ClientIPConfig: timeoutSeconds
core.v1.Toleration: tolerationSeconds
core.v1.TopologySpreadConstraint: minDomains nodeAffinityPolicy nodeTaintsPolicy
core.v1.TypedLocalObjectReference: apiGroup
core.v1.TypedObjectReference: apiGroup namespace
core.v1.VolumeMount: mountPropagation recursiveReadOnly
core.v1.VolumeMountStatus: recursiveReadOnly
core.v1.WindowsSecurityContextOptions: gmsaCredentialSpecName gmsaCredentialSpec runAsUserName hostProcess
meta.v1.DeleteOptions: gracePeriodSeconds orphanDependents propagationPolicy
meta.v1.ObjectMeta: deletionGracePeriodSeconds
meta.v1.OwnerReference: controller blockOwnerDeletion
meta.v1.Preconditions: uid resourceVersion
apps.v1.DaemonSetSpec: revisionHistoryLimit
apps.v1.DaemonSetStatus: collisionCount
apps.v1.DeploymentSpec: replicas revisionHistoryLimit progressDeadlineSeconds
apps.v1.DeploymentStatus: collisionCount terminatingReplicas
apps.v1.ReplicaSetSpec: replicas
apps.v1.ReplicaSetStatus: terminatingReplicas
apps.v1.RollingUpdateStatefulSetStrategy: partition
apps.v1.StatefulSetSpec: replicas revisionHistoryLimit
apps.v1.StatefulSetStatus: collisionCount
authentication.v1.TokenRequestSpec: expirationSeconds
autoscaling.v1.HorizontalPodAutoscalerSpec: minReplicas targetCPUUtilizationPercentage
autoscaling.v1.HorizontalPodAutoscalerStatus: observedGeneration currentCPUUtilizationPercentage
autoscaling.v2.HPAScalingRules: stabilizationWindowSeconds selectPolicy
autoscaling.v2.HorizontalPodAutoscalerSpec: minReplicas
autoscaling.v2.HorizontalPodAutoscalerStatus: observedGeneration
autoscaling.v2.MetricTarget: averageUtilization
autoscaling.v2.MetricValueStatus: averageUtilization
batch.v1.CronJobSpec: timeZone startingDeadlineSeconds suspend successfulJobsHistoryLimit failedJobsHistoryLimit
batch.v1.JobSpec: parallelism completions activeDeadlineSeconds backoffLimit backoffLimitPerIndex maxFailedIndexes manualSelector \
ttlSecondsAfterFinished completionMode suspend podReplacementPolicy managedBy
batch.v1.JobStatus: ready terminating failedIndexes
batch.v1.PodFailurePolicyOnExitCodesRequirement: containerName
batch.v1.SuccessPolicyRule: succeededIndexes succeededCount
certificates.v1.CertificateSigningRequestSpec: expirationSeconds
coordination.v1.LeaseSpec: holderIdentity leaseDurationSeconds leaseTransitions strategy preferredHolder
discovery.v1.Endpoint: hostname nodeName zone
discovery.v1.EndpointConditions: ready serving terminating
discovery.v1.EndpointPort: name protocol port appProtocol
flowcontrol.v1.ExemptPriorityLevelConfiguration: nominalConcurrencyShares lendablePercent
flowcontrol.v1.LimitedPriorityLevelConfiguration: nominalConcurrencyShares lendablePercent borrowingLimitPercent
networking.v1.HTTPIngressPath: pathType
networking.v1.IngressClassParametersReference: apiGroup scope namespace
networking.v1.IngressPortStatus: error
networking.v1.IngressSpec: ingressClassName
networking.v1.NetworkPolicyPort: protocol endPort
policy.v1.PodDisruptionBudgetSpec: unhealthyPodEvictionPolicy
admissionregistration.v1.MutatingWebhook: failurePolicy matchPolicy sideEffects timeoutSeconds reinvocationPolicy
admissionregistration.v1.ValidatingWebhook: failurePolicy matchPolicy sideEffects timeoutSeconds
admissionregistration.v1.RuleWithOperations: scope
admissionregistration.v1.NamedRuleWithOperations: scope
admissionregistration.v1.ServiceReference: path port
admissionregistration.v1.WebhookClientConfig: url
admissionregistration.v1.MatchResources: matchPolicy
admissionregistration.v1.ParamRef: parameterNotFoundAction
admissionregistration.v1.ValidatingAdmissionPolicySpec: failurePolicy
admissionregistration.v1.MutatingAdmissionPolicySpec: failurePolicy
admissionregistration.v1.Validation: reason
apiextensions.v1.CustomResourceDefinitionVersion: deprecationWarning
apiextensions.v1.ServiceReference: path port
apiextensions.v1.WebhookClientConfig: url
apiextensions.v1.CustomResourceSubresourceScale: labelSelectorPath
apiextensions.v1.ValidationRule: reason optionalOldSelf
apiextensions.v1.JSONSchemaProps: $ref maximum minimum maxLength minLength maxItems minItems multipleOf maxProperties minProperties \
x-kubernetes-preserve-unknown-fields x-kubernetes-list-type x-kubernetes-map-type
apiregistration.v1.ServiceReference: port
resource.v1.AllocatedDeviceStatus: shareID
resource.v1.CapacityRequestPolicyRange: max step
resource.v1.Device: nodeName allNodes bindsToNode allowMultipleAllocations
resource.v1.DeviceAttribute: int bool string version
resource.v1.DeviceClassSpec: extendedResourceName
resource.v1.DeviceConstraint: matchAttribute distinctAttribute
resource.v1.DeviceRequestAllocationResult: adminAccess shareID
resource.v1.DeviceTaintSelector: device driver pool
resource.v1.DeviceToleration: tolerationSeconds
resource.v1.ExactDeviceRequest: adminAccess
resource.v1.ResourceSliceSpec: nodeName allNodes perDeviceNodeSelection
scheduling.v1.PriorityClass: preemptionPolicy
storage.v1.CSIDriverSpec: attachRequired podInfoOnMount storageCapacity fsGroupPolicy requiresRepublish seLinuxMount \
nodeAllocatableUpdatePeriodSeconds serviceAccountTokenInSecrets preventPodSchedulingIfMissing
storage.v1.StorageClass: reclaimPolicy volumeBindingMode allowVolumeExpansion
storage.v1.TokenRequest: expirationSeconds
storage.v1.VolumeAttachmentSource: persistentVolumeName
storage.v1.VolumeError: errorCode
storage.v1.VolumeNodeResources: count
"""

_EMBEDDED = """
apps.v1.DaemonSetSpec: updateStrategy
apps.v1.DeploymentSpec: strategy
apps.v1.StatefulSetSpec: updateStrategy
batch.v1.JobTemplateSpec: metadata spec
core.v1.Container: resources
core.v1.ContainerStatus: state lastState
core.v1.EphemeralContainer: resources
core.v1.Event: source involvedObject
core.v1.NodeStatus: nodeInfo daemonEndpoints
core.v1.NodeDaemonEndpoints: kubeletEndpoint
core.v1.PersistentVolumeClaimSpec: resources
core.v1.PersistentVolumeClaimTemplate: metadata
core.v1.PodTemplate: template
core.v1.PodTemplateSpec: metadata spec
core.v1.ServiceStatus: loadBalancer
events.v1.Event: regarding deprecatedSource
networking.v1.IngressServiceBackend: port
networking.v1.IngressStatus: loadBalancer
networking.v1.NetworkPolicySpec: podSelector
resource.v1.AllocationResult: devices
resource.v1.ResourceClaimSpec: devices
resource.v1.ResourceClaimTemplateSpec: metadata
"""

_ALWAYS = """
apps.v1.StatefulSetStatus: availableReplicas
apps.v1.StatefulSetSpec: serviceName
apps.v1.StatefulSetOrdinals: start
autoscaling.v2.HorizontalPodAutoscalerStatus: currentMetrics
apiextensions.v1.CustomResourceDefinitionStatus: conditions storedVersions
core.v1.Event: reportingComponent reportingInstance
core.v1.NodeRuntimeHandler: name
core.v1.ProjectedVolumeSource: sources
core.v1.ResourceFieldSelector: divisor
policy.v1.PodDisruptionBudgetStatus: disruptionsAllowed currentHealthy desiredHealthy expectedPods
scheduling.v1.PriorityClass: value
core.v1.TypedLocalObjectReference: apiGroup
core.v1.TypedObjectReference: apiGroup
authentication.v1.TokenRequestSpec: boundObjectRef
rbac.v1.ClusterRole: rules
rbac.v1.Role: rules
"""

_TIMES = """
core.v1.NamespaceCondition: lastTransitionTime
core.v1.NodeCondition: lastHeartbeatTime lastTransitionTime
core.v1.PersistentVolumeClaimCondition: lastProbeTime lastTransitionTime
core.v1.PodCondition: lastProbeTime lastTransitionTime
core.v1.ReplicationControllerCondition: lastTransitionTime
core.v1.ContainerStateRunning: startedAt
core.v1.ContainerStateTerminated: startedAt finishedAt
core.v1.Event: firstTimestamp lastTimestamp eventTime
core.v1.EventSeries: lastObservedTime
events.v1.Event: deprecatedFirstTimestamp deprecatedLastTimestamp eventTime
apps.v1.DaemonSetCondition: lastTransitionTime
apps.v1.DeploymentCondition: lastUpdateTime lastTransitionTime
apps.v1.ReplicaSetCondition: lastTransitionTime
apps.v1.StatefulSetCondition: lastTransitionTime
autoscaling.v2.HorizontalPodAutoscalerCondition: lastTransitionTime
batch.v1.JobCondition: lastProbeTime lastTransitionTime
certificates.v1.CertificateSigningRequestCondition: lastUpdateTime lastTransitionTime
apiextensions.v1.CustomResourceDefinitionCondition: lastTransitionTime
apiregistration.v1.APIServiceCondition: lastTransitionTime
flowcontrol.v1.FlowSchemaCondition: lastTransitionTime
flowcontrol.v1.PriorityLevelConfigurationCondition: lastTransitionTime
meta.v1.Condition: lastTransitionTime
storage.v1.VolumeError: time
"""

_ABSENT = """
apps.v1.DaemonSetSpec: selector
apps.v1.DeploymentSpec: selector
apps.v1.ReplicaSetSpec: selector
apps.v1.StatefulSetSpec: selector
core.v1.VolumeNodeAffinity: required
core.v1.PersistentVolumeClaimSpec: selector
networking.v1.IPAddressSpec: parentRef
apiregistration.v1.APIServiceSpec: service
apiextensions.v1.WebhookConversion: clientConfig
core.v1.Event: eventTime
"""


def _table(text: str) -> dict[str, frozenset[str]]:
    rows = (line.partition(":") for line in text.strip().splitlines())
    return {name: frozenset(fields.split()) for name, _, fields in rows}


@cache
def pointers() -> dict[str, frozenset[str]]:
    """Scalars that keep an explicit zero."""
    return _table(_POINTERS)


@cache
def embedded() -> dict[str, frozenset[str]]:
    """Optional structures that are written even when nothing was given (`spec`, `status`, and `metadata` of kinds are known)."""
    return _table(_EMBEDDED)


@cache
def always() -> dict[str, frozenset[str]]:
    """Optional fields that are written as their zero value."""
    return _table(_ALWAYS)


@cache
def null_times() -> dict[str, frozenset[str]]:
    """Times that are written as null when absent."""
    return _table(_TIMES)


@cache
def absent() -> dict[str, frozenset[str]]:
    """Required fields that are pointers: absent when not given."""
    return _table(_ABSENT)
