"""Services' addresses and node ports: families, reservations that hold among several servers, and their repair."""
