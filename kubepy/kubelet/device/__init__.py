"""Extended resources of device plugins: registration, allocation, and what the pod-resources API tells of them.

The message modules are generated from our own statement of the wire format:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. kubepy/kubelet/device/device.proto kubepy/kubelet/device/podresources.proto
"""
