"""What every request passes through before its verb: plain ASGI callables, outermost first."""
