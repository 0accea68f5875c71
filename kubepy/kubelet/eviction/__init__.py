"""Eviction: pods are ended, one at a time, before the node runs out of memory, disk or process IDs."""
