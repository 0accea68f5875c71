"""Cluster DNS (Kubernetes DNS specification 1.1.0). `record` says which records a Service has (pure), `zone` keeps them and answers,
`wire` is DNS' encoding, `upstream` forwards and caches the rest of the world, `server` listens on UDP and TCP.

Messages are built by hand: an answer is encoded once and then only its header and question differ, which is what makes thousands of
queries a second cheap. Tests decode them with dnslib.
"""
