"""The aggregation layer: API groups that other servers serve, registered by APIService objects (`k8s.io/kube-aggregator`).

`table` knows who serves what, `availability` decides who can be asked, `controller` keeps both up to date, `register` makes the local
APIServices of what this server serves itself, `proxy` hands requests on, `document` adds the others' discovery and OpenAPI to ours.
"""
