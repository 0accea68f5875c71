"""Plugins on the node that register with the kubelet over sockets (CSI drivers, drivers of dynamic resources).

`registration_pb2` is generated from our own statement of the wire format:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. kubepy/kubelet/plugin/registration.proto
"""
