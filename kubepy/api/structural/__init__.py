"""Structural schemas of custom resources: what a definition's OpenAPI schema does to objects. Pure values, no I/O.

    node = parse(schema)                        the schema as nodes, once for each version of a definition
    unknown = prune(obj, node)                  drops what the schema does not know, and names it
    fill(obj, node)                             defaults, and nulls that may not be
    errors = validate(node, obj, Path())        in Kubernetes' words

Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema` and `…/validation`.
"""
from __future__ import annotations

from kubepy.api.structural.coerce import CoerceError, coerce
from kubepy.api.structural.default import fill
from kubepy.api.structural.node import Node, parse
from kubepy.api.structural.prune import prune

__all__ = ["CoerceError", "Node", "coerce", "fill", "parse", "prune"]
