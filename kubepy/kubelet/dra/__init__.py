"""Dynamic resource allocation on the node: drivers register over a socket, claims are made ready before a pod's containers start.

`dra_pb2` is generated from our own statement of the wire format:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. kubepy/kubelet/dra/dra.proto
"""
