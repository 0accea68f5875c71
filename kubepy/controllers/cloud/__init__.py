"""The seam to a cloud: what a provider can do, and the controllers that ask it (`k8s.io/cloud-provider`).

    provider.py  the interface: load balancers; nodes and routes for providers that have them
    pool.py      the built-in provider: addresses from a pool, which every node's proxy answers for
    service.py   services of type LoadBalancer
"""
