"""Horizontal pod autoscaling (`pkg/controller/podautoscaler`).

    metric.py     reading the metrics APIs
    replica.py    from metrics and pods to a number of replicas (pure)
    pace.py       stabilisation windows and scaling policies (pure)
    mapping.py    from a kind to the resources it may be
    monitor.py    Prometheus metrics of all this
    source.py     each kind of metric in a spec: its replicas, its status, its name
    reconcile.py  reading the scale, deciding, scaling, reporting
"""
