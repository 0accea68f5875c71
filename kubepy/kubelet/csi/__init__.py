"""Volumes of CSI drivers: drivers register over a socket, volumes are staged once a node and published once a pod.

The message modules are generated from our own statement of the wire format:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. kubepy/kubelet/csi/csi.proto
"""
