"""Joining a machine to a cluster: bootstrap tokens, cluster-info, certificate requests, and the rights these need.

The control plane's side is `grant` and `token`; the joining machine's is `discovery`, `request` and `command`. As kubeadm does it, so
its documentation applies; the differences are in `grant`.
"""
