"""Jobs (`pkg/controller/job`): pods that run to their end, counted exactly once through finalizers.

    index.py      completion indexes and their interval notation (pure)
    policy.py     pod failure and success policies (pure)
    snapshot.py   what a Job's pods and status say together (pure)
    plan.py       whether it has ended, what to create and delete (pure)
    reconcile.py  counting, creating, deleting, reporting
    ttl.py        removing Jobs some time after their end
"""
