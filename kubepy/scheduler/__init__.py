"""The scheduler: assigns pods to nodes through the binding subresource."""
