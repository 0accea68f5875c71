"""The service proxy. `model` makes service ports and endpoints of what the API says (pure), `endpoint` decides which endpoints serve
which traffic (pure), a backend (`backend.Backend`) turns that state into the kernel's rules, `syncer` decides when.

    Services, EndpointSlices, Node ──▶ model.State ──▶ backend.apply(state)
                                                        iptables: rule (pure) ──▶ table (pure diff) ──▶ iptables-restore
                                                        nftables: rule (pure) ──▶ transaction (pure diff) ──▶ nft
                                                        ipvs:     plan (pure) ──▶ kernel (netlink), ipset, iptables

`mode` names the backends, `config` has the flags and the configuration file, `netlink` is what backends ask the kernel with.
"""
