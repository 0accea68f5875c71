"""The functions an environment has: CEL's and Kubernetes' (`k8s.io/apiserver/pkg/cel/environment/base.go`), and those of admission."""
from __future__ import annotations

from functools import lru_cache

from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.function import authorization, conversion, formats, lists, mutation, net, quantities, standard, strings, times


@lru_cache(maxsize=1)
def base() -> Declarations:
    """Of every environment."""
    found = Declarations()
    for module in (standard, conversion, strings, times, lists, quantities, net, formats):
        module.declare(found)
    return found


@lru_cache(maxsize=1)
def admission() -> Declarations:
    """Of admission policies and match conditions: checks of authorization besides."""
    found = Declarations()
    authorization.declare(found)
    return base().extended(found)


@lru_cache(maxsize=1)
def mutating() -> Declarations:
    """Of mutations: JSON patches besides."""
    found = Declarations()
    mutation.declare(found)
    return admission().extended(found)
