"""Nodes: pod address ranges, health and taints, eviction, TTL annotations.

    ipam.py       a part of the cluster CIDR for each node
    health.py     what a node's heartbeats say about it (pure)
    zone.py       how fast nodes of a zone may be evicted (pure)
    lifecycle.py  monitoring and tainting
    eviction.py   deleting pods that do not tolerate their node's taints
    ttl.py        how long kubelets may cache Secrets and ConfigMaps
"""
