"""Cluster DNS: the Kubernetes DNS specification 1.1.0 served from informers."""
