"""What they may do: RBAC, node authorizer, access reviews."""
