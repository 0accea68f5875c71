"""The plugins of kube-scheduler's default profile, in its order, with their weights. To add one: a file here and a line in `DEFAULT`."""
from __future__ import annotations

from kubepy.scheduler.framework import Plugin
from kubepy.scheduler.plugins.balanced_allocation import NodeResourcesBalancedAllocation
from kubepy.scheduler.plugins.default_binder import DefaultBinder
from kubepy.scheduler.plugins.default_preemption import DefaultPreemption
from kubepy.scheduler.plugins.dynamic_resources import DynamicResources
from kubepy.scheduler.plugins.image_locality import ImageLocality
from kubepy.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from kubepy.scheduler.plugins.node_affinity import NodeAffinity
from kubepy.scheduler.plugins.node_declared_features import NodeDeclaredFeatures
from kubepy.scheduler.plugins.node_name import NodeName
from kubepy.scheduler.plugins.node_ports import NodePorts
from kubepy.scheduler.plugins.node_resources_fit import NodeResourcesFit
from kubepy.scheduler.plugins.node_unschedulable import NodeUnschedulable
from kubepy.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from kubepy.scheduler.plugins.pod_topology_spread import PodTopologySpread
from kubepy.scheduler.plugins.queueing import PrioritySort, SchedulingGates
from kubepy.scheduler.plugins.taint_toleration import TaintToleration
from kubepy.scheduler.plugins.volume_binding import VolumeBinding
from kubepy.scheduler.plugins.volume_restrictions import VolumeRestrictions, VolumeZone

DEFAULT: tuple[tuple[type[Plugin], int], ...] = (
    (SchedulingGates, 0),
    (PrioritySort, 0),
    (NodeUnschedulable, 0),
    (NodeName, 0),
    (NodeDeclaredFeatures, 0),
    (TaintToleration, 3),
    (NodeAffinity, 2),
    (NodePorts, 0),
    (NodeResourcesFit, 1),
    (VolumeRestrictions, 0),
    (NodeVolumeLimits, 0),
    (VolumeBinding, 0),
    (VolumeZone, 0),
    (PodTopologySpread, 2),
    (InterPodAffinity, 2),
    (DynamicResources, 2),
    (DefaultPreemption, 0),
    (NodeResourcesBalancedAllocation, 1),
    (ImageLocality, 1),
    (DefaultBinder, 0),
)
"""Plugin and score weight (0: it does not score)."""
