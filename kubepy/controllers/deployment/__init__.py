"""Deployments (`pkg/controller/deployment`): ReplicaSets of a changing template, rolled over at a bounded rate.

    rollout.py    which ReplicaSet is the new one, and how large each should be (pure)
    revision.py   revisions, annotations and the history limit (pure)
    status.py     counts and conditions (pure)
    reconcile.py  reading, writing, events
"""
