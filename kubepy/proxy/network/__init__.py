"""The pod network between nodes: routes (or a VXLAN) to the other nodes' pod ranges, and masquerading of what leaves the cluster.

What is wanted is a pure function of the Node objects (`plan`); `kernel` makes it so through netlink. Follows what Flannel's host-gw and
vxlan backends do to the kernel; differs in that nothing is kept in node annotations (the tunnel's MAC follows from the node's address).
"""
