"""The node: what the machine is and has, registration, heartbeats."""
