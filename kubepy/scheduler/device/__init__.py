"""Devices of dynamic resource allocation: `state` keeps what drivers offer and who uses it, `pool` is what one node can see of that,
`allocator` chooses devices for claims. Values only: nothing here does I/O."""
