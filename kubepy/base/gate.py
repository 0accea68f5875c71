"""Feature gates: the switches of v1.36, their defaults, and what `--feature-gates` may say of them (component-base `featuregate`).

kubepy behaves as v1.36 does with its default gates. A component names the gates of which it also has the other state; setting any
other gate to what it is anyway is taken (as by upstream, which knows every gate in every component), setting it to the opposite is
refused: better no start than another behaviour than was asked for. `AllAlpha` and `AllBeta` switch what the component can switch
and are refused where that leaves something out.

Known differences: the emulation version is v1.36's own, so gates have the defaults of that version only; stages are those of v1.36.0.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kubepy.base.flag import boolean
from kubepy.base.metrics import gauge

ALPHA, BETA, GA, DEPRECATED = "ALPHA", "BETA", "", "DEPRECATED"
"""As the label `stage` of the metric kubernetes_feature_enabled has them."""


class Gate(NamedTuple):
    stage: str
    default: bool
    locked: bool = False
    """May not be set to anything else than its default."""


def _all(gate: Gate, names: str) -> dict[str, Gate]:
    return dict.fromkeys(names.split(), gate)


GATES: Mapping[str, Gate] = {
    **_all(Gate(ALPHA, False), """
        APIServingWithRoutine AllAlpha AllowUnsafeMalformedObjectDeletion CBORServingAndStorage CPUManagerPolicyAlphaOptions
        CRIListStreaming CSIVolumeHealth ClientsAllowCBOR ClientsPreferCBOR CloudControllerManagerWatchBasedRoutesReconciliation
        CloudControllerManagerWebhook ContainerStopSignals ControllerManagerReleaseLeaderElectionLockOnExit
        CrossNamespaceVolumeDataSource CustomCPUCFSQuotaPeriod DRAListTypeAttributes DRANodeAllocatableResources DRAResourcePoolStatus
        DRAWorkloadResourceClaims EventedPLEG GangScheduling GenericWorkload HPAScaleToZero ImageVolumeWithDigest
        InPlacePodVerticalScalingExclusiveCPUs InPlacePodVerticalScalingExclusiveMemory KubeletInUserNamespace LoggingAlphaOptions
        ManifestBasedAdmissionControlConfig MemoryQoS MutablePVNodeAffinity NativeHistograms PersistentVolumeClaimUnusedSinceTime
        PodAndContainerStatsFromCRI PodLevelResourceManagers PodLogsQuerySplitStreams PodsAPI QOSReserved
        ReduceDefaultCrashLoopBackOffDecay RuntimeClassInImageCriApi ShardedListAndWatch StorageCapacityScoring StorageVersionAPI
        TaintTolerationComparisonOperators TopologyAwareWorkloadScheduling TopologyManagerPolicyAlphaOptions
        UserNamespacesHostNetworkSupport VolumeLimitScaling WindowsCPUAndMemoryAffinity WorkloadAwarePreemption WorkloadWithJob"""),
    **_all(Gate(BETA, True), """
        APIResponseCompression APIServerIdentity AllowParsingUserUIDFromCertAuth AtomicFIFO AuthorizePodWebsocketUpgradeCreatePermission
        CPUManagerPolicyBetaOptions ClearingNominatedNodeNameAfterBinding ComponentFlagz ComponentStatusz ConstrainedImpersonation
        ContainerCheckpoint ContainerRestartRules ContextualLogging DRAConsumableCapacity DRADeviceBindingConditions DRADeviceTaints
        DRAExtendedResource DRAPartitionableDevices DRAResourceClaimDeviceStatus DRAResourceClaimGranularStatusAuthorization
        DRASchedulerFilterTimeout DeclarativeValidationBeta DeploymentReplicaSetTerminatingReplicas DetectCacheInconsistency
        DisableCPUQuotaWithExclusiveCPUs EnvFiles ExtendWebSocketsToKubelet GracefulNodeShutdown GracefulNodeShutdownBasedOnPodPriority
        HPAConfigurableTolerance HostnameOverride InOrderInformers InOrderInformersBatchProcess InPlacePodLevelResourcesVerticalScaling
        KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages KubeletSeparateDiskGC
        KubeletServiceAccountTokenForCredentialProviders ListFromCacheSnapshot LoggingBetaOptions MatchLabelKeysInPodTopologySpread
        MatchLabelKeysInPodTopologySpreadSelectorMerge MutablePodResourcesForSuspendedJobs MutableSchedulingDirectivesForSuspendedJobs
        NodeDeclaredFeatures NominatedNodeNameForExpectation OpenAPIEnums OpportunisticBatching PodDeletionCost PodLevelResources
        PodReadyToStartContainersCondition PodTopologyLabelsAdmission PortForwardWebsockets PreventStaticPodAPIReferences
        RelaxedServiceNameValidation ReloadKubeletServerCertificateFile RemoteRequestHeaderUID ResourceHealthStatus
        ResourceHealthStatusMessage RestartAllContainersOnContainerExits RotateKubeletServerCertificate SchedulerAsyncAPICalls
        SchedulerAsyncPreemption SchedulerPopFromBackoffQ ServiceAccountNodeAudienceRestriction SizeBasedListCostEstimate
        StaleControllerConsistencyDaemonSet StaleControllerConsistencyJob StaleControllerConsistencyReplicaSet
        StaleControllerConsistencyStatefulSet StatefulSetSemanticRevisionComparison StorageVersionHash StrictIPCIDRValidation
        StructuredAuthenticationConfigurationEgressSelector StructuredAuthenticationConfigurationJWKSMetrics
        TokenRequestServiceAccountUIDValidation TopologyManagerPolicyBetaOptions TranslateStreamCloseWebsocketRequests
        UnauthenticatedHTTP2DOSMitigation UnknownVersionInteroperabilityProxy UnlockWhileProcessingFIFO
        WatchCacheInitializationPostStartHook WatchList WatchListClient WindowsGracefulNodeShutdown"""),
    **_all(Gate(BETA, False), """
        AllBeta CRDObservedGenerationTracking ClusterTrustBundle ClusterTrustBundleProjection ConcurrentWatchObjectDecode
        CoordinatedLeaderElection DRADeviceTaintRules LocalStorageCapacityIsolationFSQuotaMonitoring MaxUnavailableStatefulSet
        PodCertificateRequest SELinuxMount StorageVersionMigrator"""),
    **_all(Gate(GA, True, locked=True), """
        APIServerTracing AnonymousAuthConfigurableEndpoints AnyVolumeDataSource AuthorizeNodeWithSelectors AuthorizeWithSelectors
        BtreeWatchCache CPUManagerPolicyOptions CRDValidationRatcheting CSIServiceAccountTokenSecrets ConsistentListFromCache
        CustomResourceFieldSelectors DRAAdminAccess DRAPrioritizedList DeclarativeValidation DisableAllocatorDualWrite
        DynamicResourceAllocation ExecProbeTimeout ExternalServiceAccountTokenSigner HonorPVReclaimPolicy ImageMaximumGCAge ImageVolume
        InPlacePodVerticalScaling JobBackoffLimitPerIndex JobManagedBy JobPodReplacementPolicy JobSuccessPolicy
        KubeletCgroupDriverFromCRI KubeletFineGrainedAuthz KubeletPSI KubeletPodResourcesDynamicResources KubeletPodResourcesGet
        KubeletTracing LogarithmicScaleDown MatchLabelKeysInPodAffinity MultiCIDRServiceAllocator MutableCSINodeAllocatableCount
        MutatingAdmissionPolicy NFTablesProxyMode NodeInclusionPolicyInPodTopologySpread NodeLogQuery NodeSwap OrderedNamespaceDeletion
        PodLifecycleSleepAction PodLifecycleSleepActionAllowZero PodObservedGenerationTracking PodSchedulingReadiness
        PreferSameTrafficDistribution ProcMountType RecoverVolumeExpansionFailure RecursiveReadOnlyMounts RelaxedDNSSearchValidation
        RelaxedEnvironmentVariableValidation ResilientWatchCacheInitialization RetryGenerateName SELinuxChangePolicy
        SELinuxMountReadWriteOncePod SchedulerQueueingHints SeparateTaintEvictionController ServiceAccountTokenJTI
        ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation ServiceAccountTokenPodNodeInfo SidecarContainers
        StreamingCollectionEncodingToJSON StreamingCollectionEncodingToProtobuf StructuredAuthenticationConfiguration
        SupplementalGroupsPolicy SystemdWatchdog TopologyManagerPolicyOptions UserNamespacesSupport VolumeAttributesClass WinDSR
        WinOverlay"""),
    "InformerResourceVersion": Gate(GA, True),
    **_all(Gate(DEPRECATED, True), "DisableNodeKubeProxyVersion KubeletPodResourcesListUseActivePods StorageNamespaceIndex"),
    "AggregatedDiscoveryRemoveBetaType": Gate(DEPRECATED, True, locked=True),
    **_all(Gate(DEPRECATED, False), """
        AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests ChangeContainerStatusOnKubeletRestart
        DeclarativeValidationTakeover GitRepoVolumeDriver InPlacePodVerticalScalingAllocatedStatus KMSv1
        KubeletRegistrationGetOnExistsOnly SeparateCacheWatchRPC WindowsHostNetwork"""),
    "AllowOverwriteTerminationGracePeriodSeconds": Gate(DEPRECATED, False, locked=True),
}
_GROUPS = {"AllAlpha": ALPHA, "AllBeta": BETA}
_NEEDS = {"ClusterTrustBundleProjection": "ClusterTrustBundle", "DRADeviceTaintRules": "DRADeviceTaints",
          "StorageVersionAPI": "APIServerIdentity"}
GROUPS_OF_API = frozenset((
    "ClusterTrustBundle", "ClusterTrustBundleProjection", "DRADeviceTaintRules", "DRAResourcePoolStatus", "PodCertificateRequest",
    "StorageVersionAPI", "StorageVersionMigrator",
))
"""What goes through the whole cluster, and what operators therefore tell every component alike: each takes either state, also where it has
nothing to do with it."""
_ENABLED = gauge("kubernetes_feature_enabled", "[BETA] This metric records the data about the stage and enablement of a k8s feature.",
                 ("name", "stage"))


class GateError(ValueError):
    """What is wrong with a setting, in upstream's words where upstream refuses it too."""


class Gates:
    """Which features are on."""

    def __init__(self, values: Mapping[str, bool] | None = None) -> None:
        self._values = {name: gate.default for name, gate in GATES.items()} | dict(values or {})

    def __getitem__(self, name: str) -> bool:
        return self._values[name]

    def enabled(self, name: str) -> bool:
        """Whether it is on, and what it does nothing without; "" stands for what has no gate."""
        return not name or (self[name] and self.enabled(_NEEDS.get(name, "")))

    def publish(self) -> None:
        """Shows them on /metrics."""
        for name, value in sorted(self._values.items()):
            _ENABLED.labels(name, GATES[name].stage).set(value)

    def changed(self) -> dict[str, bool]:
        """Those that are not as v1.36 has them by default."""
        return {name: value for name, value in self._values.items() if value != GATES[name].default}


def settings(texts: Iterable[str], component: str = "kube") -> dict[str, bool]:
    """`A=true,B=false`, as often as the flag was given; the last word on a gate counts. `kube:A=true` names the component, which is
    how servers with gates of several components are told them. Raises GateError."""
    found = {}
    for item in (item.strip() for text in texts for item in text.split(",")):
        if not item:
            continue
        name, equals, value = item.partition("=")
        owner, colon, plain = name.strip().rpartition(":")
        if not equals:
            raise GateError(f"missing bool value for {name.strip()}")
        if colon and owner != component:
            raise GateError(f"component not registered: {owner}")
        try:
            found[plain] = boolean(value.strip())
        except ValueError:
            raise GateError(f'invalid value of {plain}={value.strip()}, err: strconv.ParseBool: parsing "{value.strip()}": '
                            "invalid syntax") from None
    return found


def parse(texts: Iterable[str], switchable: frozenset[str] = frozenset(), component: str = "kube") -> Gates:
    """What `--feature-gates` says. Raises GateError."""
    return chosen(settings(texts, component), switchable)


def chosen(wanted: Mapping[str, bool], switchable: frozenset[str] = frozenset()) -> Gates:
    """What a configuration's `featureGates` says. Raises GateError with every problem."""
    switchable = switchable | GROUPS_OF_API
    problems: list[str] = []
    values: dict[str, bool] = {}
    for name in sorted(wanted, key=lambda name: name not in _GROUPS):  # a gate's own setting wins over its group's
        value, gate = wanted[name], GATES.get(name)
        if gate is None:
            problems.append(f"unrecognized feature gate: {name}")
        elif name in _GROUPS:
            members = {other for other, each in GATES.items() if each.stage == _GROUPS[name] and other not in _GROUPS and not each.locked}
            lacking = sorted(other for other in members - switchable - wanted.keys() if GATES[other].default != value)
            if lacking:
                problems.append(f"{name}={str(value).lower()} is not supported: {', '.join(lacking)} cannot be switched here")
            values |= {name: value, **dict.fromkeys(members & switchable, value)}
        elif gate.locked and value != gate.default:
            problems.append(f"cannot set feature gate {name} to {str(value).lower()}, feature is locked to {str(gate.default).lower()}")
        elif value != gate.default and name not in switchable:
            problems.append(f"feature gate {name} cannot be {str(value).lower()} here: it is {str(gate.default).lower()}, as in v1.36 by "
                            "default")
        else:
            values[name] = value
    if problems:
        raise GateError(", ".join(problems) if len(problems) == 1 else f"[{', '.join(problems)}]")
    return Gates(values)


def add_flag(parser: argparse._ActionsContainer, switchable: frozenset[str] = frozenset()) -> None:
    """`--feature-gates`, which may be repeated; `args.feature_gates` is `Gates`."""
    class Set(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: str | Sequence[Any] | None,
                     option_string: str | None = None) -> None:
            namespace._gates = (*getattr(namespace, "_gates", ()), str(values))
            try:
                namespace.feature_gates = parse(namespace._gates, switchable)
            except GateError as error:
                parser.error(f'invalid argument "{values}" for "--feature-gates" flag: {error}')

    known = f"; those that can be: {', '.join(sorted(switchable | GROUPS_OF_API))}"
    parser.add_argument("--feature-gates", action=Set, default=Gates(), metavar="A=BOOL,…",
                        help=f"features to be switched on or off; every gate of v1.36 may be set to its default{known}")


DEFAULT = Gates()
"""All as v1.36 has them."""
