"""Request bodies in Kubernetes' protobuf form (`application/vnd.kubernetes.protobuf`), which kubectl and Go clients send.

    obj = decode_body(data)      # the JSON form of the object in the body

`messages.txt` holds the field numbers of the wire format, one message a line: `NUMBER NAME TYPE`, where `+` stands for a field
whose own fields JSON shows inline. Answers are always JSON, which every such client also accepts.
"""
from kubepy.api.protobuf.decode import MAGIC, ProtobufError, decode_body

__all__ = ["MAGIC", "ProtobufError", "decode_body"]
