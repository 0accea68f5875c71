"""A pod's life: what is observed, what is planned (pure), what is done, what is reported."""
