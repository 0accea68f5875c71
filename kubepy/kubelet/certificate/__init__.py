"""The kubelet's own certificates: the first one by a bootstrap token, and their renewal before they end."""
