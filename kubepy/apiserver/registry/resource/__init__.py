"""Kinds of the resource.k8s.io group."""
