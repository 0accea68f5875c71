"""The seam to a cloud: what a provider can do, and the controllers that ask it (`k8s.io/cloud-provider`).

    provider.py     the interface: load balancers, machines, routes
    builtin.py      the provider that is built in, from pool.py, inventory.py and kernelroute.py
    service.py      services of type LoadBalancer
    node.py         nodes get what their provider knows of them, and go when their machine has gone
    route.py        routes to the pods of each node
"""
