"""The IPVS backend: `plan` says which virtual servers, addresses and ipset members a state needs (pure), `rule` has the iptables rules,
which never change (pure), `kernel` talks to IPVS and the dummy device, `ipset` to ipset (its input is pure), `backend` does it all."""
