"""Volumes: their content, their directories and mounts, kept current while the pod runs."""
