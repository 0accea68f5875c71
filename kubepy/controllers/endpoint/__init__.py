"""What is behind a Service: Endpoints, EndpointSlices, and slices mirrored from Endpoints made by hand.

    member.py   which pods are behind a service, at which ports and addresses (pure)
    legacy.py   the Endpoints object
    slice.py    packing endpoints into slices (pure)
    slices.py   the EndpointSlice controller
    mirror.py   the mirroring controller
    nameserver.py, ask.py   cluster DNS as a daemon on every node: whose answers
"""
