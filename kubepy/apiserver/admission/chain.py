"""The admission chain: Kubernetes' plugins in Kubernetes' order, and which of them run by default.

Source of the order: `kubeapiserver/options.AllOrderedPlugins`.
"""
from __future__ import annotations

from collections.abc import Collection, Sequence

from kubepy.api.resource import Resource
from kubepy.apiserver.admission.admin_access import AdminAccess
from kubepy.apiserver.admission.certificate import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    ClusterTrustBundleAttest,
)
from kubepy.apiserver.admission.escalation import RbacEscalation
from kubepy.apiserver.admission.event_rate import EventRateLimit
from kubepy.apiserver.admission.external_ip import DenyServiceExternalIPs
from kubepy.apiserver.admission.image import AlwaysPullImages, ImagePolicyWebhook
from kubepy.apiserver.admission.interface import Plugin
from kubepy.apiserver.admission.lifecycle import NamespaceLifecycle
from kubepy.apiserver.admission.limit_ranger import LimitRanger
from kubepy.apiserver.admission.node_feature import NodeDeclaredFeatureValidator
from kubepy.apiserver.admission.node_restriction import NodeRestriction
from kubepy.apiserver.admission.owner import OwnerReferencesPermissionEnforcement
from kubepy.apiserver.admission.placement import (
    ExtendedResourceToleration,
    LimitPodHardAntiAffinityTopology,
    PodNodeSelector,
    PodTolerationRestriction,
)
from kubepy.apiserver.admission.pod_default import DefaultTolerationSeconds, PodTopologyLabels, RuntimeClass, TaintNodesByCondition
from kubepy.apiserver.admission.pod_security.plugin import PodSecurity
from kubepy.apiserver.admission.policy.mutating import MutatingAdmissionPolicy
from kubepy.apiserver.admission.policy.plugin import ValidatingAdmissionPolicy
from kubepy.apiserver.admission.presence import NamespaceAutoProvision, NamespaceExists
from kubepy.apiserver.admission.priority import Priority
from kubepy.apiserver.admission.resource_quota import ResourceQuota
from kubepy.apiserver.admission.service_account import ServiceAccount
from kubepy.apiserver.admission.storage import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from kubepy.apiserver.admission.webhook.plugin import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.services import Services
from kubepy.base.task import Tasks

PLUGINS: tuple[type[Plugin], ...] = (
    NamespaceAutoProvision, NamespaceLifecycle, NamespaceExists, LimitPodHardAntiAffinityTopology, LimitRanger, ServiceAccount,
    NodeRestriction, TaintNodesByCondition, AlwaysPullImages, ImagePolicyWebhook, PodSecurity, PodNodeSelector, Priority,
    DefaultTolerationSeconds, PodTolerationRestriction, EventRateLimit, ExtendedResourceToleration, DefaultStorageClass,
    StorageObjectInUseProtection, OwnerReferencesPermissionEnforcement, PersistentVolumeClaimResize, RuntimeClass, CertificateApproval,
    CertificateSigning, ClusterTrustBundleAttest, CertificateSubjectRestriction, DefaultIngressClass, DenyServiceExternalIPs,
    PodTopologyLabels, NodeDeclaredFeatureValidator, MutatingAdmissionPolicy, MutatingAdmissionWebhook,
    ValidatingAdmissionPolicy, ValidatingAdmissionWebhook, ResourceQuota,
)

DEFAULT_OFF: frozenset[str] = frozenset((
    "AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit", "ExtendedResourceToleration", "ImagePolicyWebhook",
    "LimitPodHardAntiAffinityTopology", "NamespaceAutoProvision", "NamespaceExists", "NodeRestriction",
    "OwnerReferencesPermissionEnforcement", "PodNodeSelector", "PodTolerationRestriction"))
DEFAULT_ON: frozenset[str] = frozenset(plugin.name for plugin in PLUGINS) - DEFAULT_OFF

NOT_HERE: frozenset[str] = frozenset(("AlwaysAdmit", "AlwaysDeny"))
"""Plugins of upstream that are not here: they may be named in --disable-admission-plugins only."""


class Chain:
    """The enabled plugins, in order."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self._mutating: dict[tuple[Resource, str, Operation], tuple[Plugin, ...]] = {}
        self._validating: dict[tuple[Resource, str, Operation], tuple[Plugin, ...]] = {}

    def start(self, tasks: Tasks) -> None:
        for plugin in self.plugins:
            plugin.start(tasks)

    async def ready(self) -> None:
        for plugin in self.plugins:
            await plugin.ready()

    async def admit(self, attributes: Attributes) -> None:
        """Mutating admission; raises the first refusal. Runs a second time when a webhook or policy asks for it."""
        plugins = self._select(self._mutating, attributes, True)
        for plugin in plugins:
            await plugin.admit(attributes)
        if attributes.reinvocation.wanted:
            attributes.reinvocation.second = True
            for plugin in plugins:
                await plugin.admit(attributes)

    async def admit_valid(self, attributes: Attributes) -> None:
        """Validating admission; raises the first refusal."""
        for plugin in self._select(self._validating, attributes, False):
            await plugin.admit_valid(attributes)

    def _select(self, cache: dict[tuple[Resource, str, Operation], tuple[Plugin, ...]], attributes: Attributes,
                mutating: bool) -> tuple[Plugin, ...]:
        key = (attributes.context.kind.resource, attributes.subresource, attributes.operation)
        found = cache.get(key)
        if found is None:
            found = cache[key] = tuple(plugin for plugin in self.plugins
                                       if (plugin.mutates if mutating else plugin.validates) and plugin.applies(*key))
        return found


def build_chain(services: Services, enable: Collection[str] = (), disable: Collection[str] = ()) -> Chain:
    """The chain for --enable-admission-plugins and --disable-admission-plugins; raises ValueError for unknown names."""
    known = {plugin.name for plugin in PLUGINS}
    if missing := sorted(NOT_HERE & set(enable) - known):
        raise ValueError(f"enable-admission-plugins: the plugin {missing[0]!r} is not supported by this server")
    if unknown := sorted({*enable, *disable} - known - NOT_HERE):
        raise ValueError(f"enable-admission-plugins plugin {unknown[0]!r} is unknown")
    names = (DEFAULT_ON | set(enable)) - set(disable)
    return Chain([*(plugin(services) for plugin in PLUGINS if plugin.name in names), RbacEscalation(services), AdminAccess(services)])
