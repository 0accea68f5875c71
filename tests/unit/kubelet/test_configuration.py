"""The KubeletConfiguration file: followed, or refused with a reason."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.kubelet.configuration import document_of, from_document, validate
from kubepy.kubelet.settings import Settings, SettingsError


def read(**document: Any) -> Settings:
    settings = from_document({"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", **document}, Settings())
    validate(settings)
    return settings


FOLLOWED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain values": ({"maxPods": 10, "clusterDomain": "c.local"}, {"max_pods": 10, "cluster_domain": "c.local"}),
    "durations": ({"syncFrequency": "1m30s", "imageMaximumGCAge": "48h"}, {"sync_frequency": 90.0, "image_maximum_gc_age": 172800.0}),
    "lists": ({"clusterDNS": ["10.96.0.10"]}, {"cluster_dns": ("10.96.0.10",)}),
    "authentication": ({"authentication": {"anonymous": {"enabled": True}, "x509": {"clientCAFile": "/ca"}}},
                       {"anonymous_auth": True, "client_ca_file": "/ca"}),
    "parallel pulls": ({"serializeImagePulls": False, "maxParallelImagePulls": 3}, {"image_pull_serial": False, "image_pulls_parallel": 3}),
    "eviction thresholds take the place of the defaults": ({"evictionHard": {"memory.available": "1Gi"}},
                                                           {"eviction_hard": {"memory.available": "1Gi"}}),
    "or join them": ({"evictionHard": {"memory.available": "1Gi"}, "mergeDefaultEvictionSettings": True},
                     {"eviction_hard": {**Settings().eviction_hard, "memory.available": "1Gi"}}),
    "what only tunes upstream": ({"kubeAPIQPS": 50, "hairpinMode": "hairpin-veth", "featureGates": {"A": True}, "logging": {}}, {}),
    "what kubeadm writes": ({
        "authorization": {"mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "0s"}}, "cgroupDriver": "systemd",
        "containerRuntimeEndpoint": "unix:///run/c.sock", "cpuManagerReconcilePeriod": "0s", "memorySwap": {},
        "rotateCertificates": True, "staticPodPath": "/etc/kubernetes/manifests", "volumeStatsAggPeriod": "0s"},
        {"rotate_certificates": True, "volume_stats_period": 60.0}),
}


@pytest.mark.parametrize(("document", "expected"), FOLLOWED.values(), ids=FOLLOWED.keys())
def test_what_is_followed(document: dict[str, Any], expected: dict[str, Any]) -> None:
    settings = read(**document)
    assert {name: getattr(settings, name) for name in expected} == expected


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a field nobody knows": ({"maxPodz": 3}, 'unknown field "maxPodz"'),
    "what is not done": ({"qosReserved": {"memory": "50%"}}, "qosReserved .* is not supported by this kubelet"),
    "memory of nodes without any left for the system": ({"memoryManagerPolicy": "Static"}, "requires reservedMemory"),
    "swap for pods": ({"memorySwap": {"swapBehavior": "LimitedSwap"}}, "only NoSwap is supported"),
    "thresholds the wrong way round": ({"imageGCHighThresholdPercent": 50, "imageGCLowThresholdPercent": 60},
                                       r"imageGCLowThresholdPercent \(--image-gc-low-threshold\) 60 must be less than"),
    "parallel pulls one after the other": ({"maxParallelImagePulls": 3}, "cannot be larger than 1 unless SerializeImagePulls"),
    "a topology policy there is not": ({"topologyManagerPolicy": "most"}, 'topologyManagerPolicy .* "most" must be one of'),
    "two ways of shutting down": ({"shutdownGracePeriod": "10s", "shutdownGracePeriodByPodPriority": [{"priority": 0}]},
                                  "Cannot specify both"),
    "more for critical pods than for all": ({"shutdownGracePeriodCriticalPods": "10s"}, "must be <= shutdownGracePeriod"),
    "too long a crash back-off": ({"crashLoopBackOff": {"maxContainerRestartPeriod": "10m"}}, "must be set between 1s and 300s"),
    "a DNS server that is no address": ({"clusterDNS": ["dns.local"]}, "is not an IP address"),
    "a duration that is none": ({"syncFrequency": "soon"}, "not a duration"),
}


@pytest.mark.parametrize(("document", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        read(**document)


def test_the_defaults_are_shown_and_read_back_the_same() -> None:
    shown = document_of(Settings())
    shown.pop("containerLogMaxSize")
    again = from_document({"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", **shown}, Settings())
    assert again == Settings()
