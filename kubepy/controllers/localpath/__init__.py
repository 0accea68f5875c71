"""Volumes as directories on a node (as `rancher/local-path-provisioner`, without its helper pods).

    plan.py       what a claim may have, the volume made for it, what becomes of a volume (pure)
    reconcile.py  making, growing and removing directories and volumes of one node
    main.py       `kubepy local-path`: a daemon for nodes where no controller manager runs
"""
