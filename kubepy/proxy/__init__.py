"""Service and pod networking on a node: service proxy backends and CNI configuration."""
