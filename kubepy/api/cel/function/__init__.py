"""Kubernetes' CEL functions by subject; each module lists them as FUNCTIONS: name, member, parameter types, result type, callable."""
