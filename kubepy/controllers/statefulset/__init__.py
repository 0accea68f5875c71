"""StatefulSets (`pkg/controller/statefulset`): pods with names, order and storage of their own.

    identity.py   a replica's name, labels, claims (pure)
    plan.py       the next steps, in order (pure), and the status
    reconcile.py  reading and writing
"""
