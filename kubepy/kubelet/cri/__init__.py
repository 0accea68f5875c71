"""The container runtime interface: messages, the gRPC client, and a fake of the runtime with the same contract.

`runtime.proto` is our own subset of `runtime.v1` (names and field numbers are the wire contract); after a change run

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. kubepy/kubelet/cri/runtime.proto
"""
