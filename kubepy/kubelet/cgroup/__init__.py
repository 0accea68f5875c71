"""The control groups of pods: the QoS tree, per-pod limits, and what they measure; cgroup v1 and v2."""
