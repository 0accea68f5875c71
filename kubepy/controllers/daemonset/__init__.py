"""DaemonSets (`pkg/controller/daemon`): a pod on every node that fits.

    eligible.py   which nodes fit, and the pod for a node (pure)
    plan.py       what to create and delete, rolling updates, status (pure)
    reconcile.py  reading and writing
"""
