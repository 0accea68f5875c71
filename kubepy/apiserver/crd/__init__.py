"""Custom resources: from definitions to kinds that are served like built-in ones.

    controller   follows the definitions, decides their names and conditions, keeps the table of kinds, removes instances
    naming       which names a definition gets and what its conditions say (pure)
    kind         one served version as a `Kind`; its schema is compiled when it is first used
    strategy     what a write of a custom resource does
    decode       bodies: type and object metadata, unknown fields, defaults
    view         stored objects as a version shows them: conversion, pruning and defaults on reading
    convert      conversion webhooks
    column, scale, selectable   paths into objects

Source: `k8s.io/apiextensions-apiserver/pkg/apiserver` and `pkg/controller`.
"""
