"""Leaf facilities that know nothing of Kubernetes: clock, back-off, task supervision, logging, metrics, HTTP serving."""
