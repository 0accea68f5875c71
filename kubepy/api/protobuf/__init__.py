"""Request bodies in Kubernetes' protobuf form (`application/vnd.kubernetes.protobuf`), which kubectl and Go clients send.

    obj = decode_body(data)      # the JSON form of the object in the body, with its apiVersion and kind
    data = encode_body(obj)      # and back, for clients that prefer it

`messages.txt` holds the field numbers of the wire format, one message a line: `NUMBER NAME TYPE`, where `+` stands for a field
whose own fields JSON shows inline. What has no message here (custom resources, tables, a few kinds) is sent as JSON, which every
such client also accepts.
"""
from kubepy.api.protobuf.decode import MAGIC, ProtobufError, decode_body
from kubepy.api.protobuf.encode import Unencodable, encodable, encode_body, encode_event

__all__ = ["MAGIC", "ProtobufError", "Unencodable", "decode_body", "encodable", "encode_body", "encode_event"]
