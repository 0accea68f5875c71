"""The feature gates a kubelet of v1.36 knows: one that it does not know is an error, and one that is locked can only be what it is.

Features are as v1.36 has them by default, whatever a gate says, but for those in `FOLLOWED`; a gate set to something else is named in the
log. Upstream's processes share one set of gates, so a kubelet takes those of other components too.
"""
from __future__ import annotations

from collections.abc import Mapping

from kubepy.kubelet.settings import SettingsError

FOLLOWED = frozenset({"QOSReserved"})
_LOCKED = """
APIServerTracing AggregatedDiscoveryRemoveBetaType AllowOverwriteTerminationGracePeriodSeconds AnonymousAuthConfigurableEndpoints
AnyVolumeDataSource AuthorizeNodeWithSelectors AuthorizeWithSelectors BtreeWatchCache CPUManagerPolicyOptions CRDValidationRatcheting
CSIServiceAccountTokenSecrets ConsistentListFromCache CustomResourceFieldSelectors DisableAllocatorDualWrite DynamicResourceAllocation
ExecProbeTimeout HonorPVReclaimPolicy ImageMaximumGCAge ImageVolume InPlacePodVerticalScaling JobBackoffLimitPerIndex JobManagedBy
JobPodReplacementPolicy JobSuccessPolicy KubeletCgroupDriverFromCRI KubeletFineGrainedAuthz KubeletTracing LogarithmicScaleDown
MatchLabelKeysInPodAffinity MultiCIDRServiceAllocator MutatingAdmissionPolicy NFTablesProxyMode NodeInclusionPolicyInPodTopologySpread
NodeSwap OrderedNamespaceDeletion PodLifecycleSleepAction PodLifecycleSleepActionAllowZero PodObservedGenerationTracking
PodSchedulingReadiness PreferSameTrafficDistribution ProcMountType RecoverVolumeExpansionFailure RecursiveReadOnlyMounts
RelaxedDNSSearchValidation RelaxedEnvironmentVariableValidation ResilientWatchCacheInitialization RetryGenerateName SchedulerQueueingHints
SeparateTaintEvictionController ServiceAccountTokenJTI ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation
ServiceAccountTokenPodNodeInfo SidecarContainers StreamingCollectionEncodingToJSON StreamingCollectionEncodingToProtobuf
StructuredAuthenticationConfiguration SupplementalGroupsPolicy SystemdWatchdog TopologyManagerPolicyOptions UserNamespacesSupport
VolumeAttributesClass WinDSR WinOverlay
"""
_ON = """
APIResponseCompression APIServerIdentity AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests AllowParsingUserUIDFromCertAuth
AtomicFIFO AuthorizePodWebsocketUpgradeCreatePermission CPUManagerPolicyBetaOptions ChangeContainerStatusOnKubeletRestart
ClearingNominatedNodeNameAfterBinding ContainerCheckpoint ContainerRestartRules ContextualLogging DRAAdminAccess DRAConsumableCapacity
DRADeviceBindingConditions DRADeviceTaints DRAExtendedResource DRAPartitionableDevices DRAPrioritizedList DRAResourceClaimDeviceStatus
DRASchedulerFilterTimeout DeclarativeValidation DeploymentReplicaSetTerminatingReplicas DetectCacheInconsistency
DisableCPUQuotaWithExclusiveCPUs DisableNodeKubeProxyVersion EnvFiles ExternalServiceAccountTokenSigner GitRepoVolumeDriver
GracefulNodeShutdown GracefulNodeShutdownBasedOnPodPriority HPAConfigurableTolerance HostnameOverride InOrderInformers
InOrderInformersBatchProcess InPlacePodLevelResourcesVerticalScaling InformerResourceVersion KMSv1 KubeletCrashLoopBackOffMax
KubeletEnsureSecretPulledImages KubeletPSI KubeletPodResourcesDynamicResources KubeletPodResourcesGet KubeletPodResourcesListUseActivePods
KubeletRegistrationGetOnExistsOnly KubeletSeparateDiskGC KubeletServiceAccountTokenForCredentialProviders ListFromCacheSnapshot
LoggingBetaOptions MatchLabelKeysInPodTopologySpread MatchLabelKeysInPodTopologySpreadSelectorMerge MaxUnavailableStatefulSet
MutableCSINodeAllocatableCount MutablePodResourcesForSuspendedJobs MutableSchedulingDirectivesForSuspendedJobs NodeDeclaredFeatures
NodeLogQuery NominatedNodeNameForExpectation OpenAPIEnums OpportunisticBatching PodDeletionCost PodLevelResources
PodReadyToStartContainersCondition PodTopologyLabelsAdmission PortForwardWebsockets PreventStaticPodAPIReferences
RelaxedServiceNameValidation ReloadKubeletServerCertificateFile RemoteRequestHeaderUID ResourceHealthStatus ResourceHealthStatusMessage
RestartAllContainersOnContainerExits RotateKubeletServerCertificate SELinuxChangePolicy SELinuxMount SELinuxMountReadWriteOncePod
SchedulerAsyncPreemption SchedulerPopFromBackoffQ ServiceAccountNodeAudienceRestriction SizeBasedListCostEstimate
StatefulSetSemanticRevisionComparison StorageNamespaceIndex StorageVersionHash StructuredAuthenticationConfigurationEgressSelector
StructuredAuthenticationConfigurationJWKSMetrics TaintTolerationComparisonOperators TokenRequestServiceAccountUIDValidation
TopologyManagerPolicyBetaOptions TranslateStreamCloseWebsocketRequests UnauthenticatedHTTP2DOSMitigation UnlockWhileProcessingFIFO
WatchCacheInitializationPostStartHook WatchList WatchListClient WindowsGracefulNodeShutdown
"""
_OFF = """
AllAlpha AllBeta APIServingWithRoutine AllowUnsafeMalformedObjectDeletion CBORServingAndStorage CPUManagerPolicyAlphaOptions
CRDObservedGenerationTracking CSIVolumeHealth ClientsAllowCBOR ClientsPreferCBOR CloudControllerManagerWatchBasedRoutesReconciliation
CloudControllerManagerWebhook ClusterTrustBundle ClusterTrustBundleProjection ComponentFlagz ComponentStatusz ConcurrentWatchObjectDecode
ConstrainedImpersonation ContainerStopSignals CoordinatedLeaderElection CrossNamespaceVolumeDataSource CustomCPUCFSQuotaPeriod
DRADeviceTaintRules DRAListTypeAttributes DRANodeAllocatableResources DRAResourcePoolStatus DRAWorkloadResourceClaims
DeclarativeValidationTakeover EventedPLEG GangScheduling GenericWorkload HPAScaleToZero ImageVolumeWithDigest
InPlacePodVerticalScalingAllocatedStatus InPlacePodVerticalScalingExclusiveCPUs InPlacePodVerticalScalingExclusiveMemory
KubeletInUserNamespace LocalStorageCapacityIsolationFSQuotaMonitoring LoggingAlphaOptions ManifestBasedAdmissionControlConfig MemoryQoS
MutablePVNodeAffinity PersistentVolumeClaimUnusedSinceTime PodAndContainerStatsFromCRI PodCertificateRequest PodLogsQuerySplitStreams
QOSReserved ReduceDefaultCrashLoopBackOffDecay RuntimeClassInImageCriApi SchedulerAsyncAPICalls SeparateCacheWatchRPC ShardedListAndWatch
StorageCapacityScoring StorageVersionAPI StorageVersionMigrator StrictIPCIDRValidation TopologyAwareWorkloadScheduling
TopologyManagerPolicyAlphaOptions UnknownVersionInteroperabilityProxy UserNamespacesHostNetworkSupport VolumeLimitScaling
WindowsCPUAndMemoryAffinity WindowsHostNetwork WorkloadAwarePreemption WorkloadWithJob
"""
DEFAULTS: Mapping[str, bool] = {**dict.fromkeys((_LOCKED + _ON).split(), True), **dict.fromkeys(_OFF.split(), False)}
LOCKED = frozenset(_LOCKED.split())


def enabled(gates: Mapping[str, bool], name: str) -> bool:
    return gates.get(name, DEFAULTS[name])


def check(gates: Mapping[str, bool]) -> list[str]:
    """Raises SettingsError as upstream's kubelet; else the gates that ask for something else than what is done here."""
    for name, value in sorted(gates.items()):
        if name not in DEFAULTS:
            raise SettingsError(f"failed to set feature gates from initial flags-based config: unrecognized feature gate: {name}")
        if name in LOCKED and not value:
            raise SettingsError(f"failed to set feature gates from initial flags-based config: cannot set feature gate {name} to false, "
                                "feature is locked to true")
    return [f"{name}={str(value).lower()}" for name, value in sorted(gates.items()) if name not in FOLLOWED and value != DEFAULTS[name]]


def parse(text: str) -> dict[str, bool]:
    """`A=true,B=false` of a flag. Raises ValueError."""
    found: dict[str, bool] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"missing bool value for {name}")
        if value not in _TRUE and value not in _FALSE:
            raise ValueError(f'invalid value of {name}: {value}, err: strconv.ParseBool: parsing "{value}": invalid syntax')
        found[name.strip()] = value in _TRUE
    return found


_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
