"""Images: pull policies, back-off, credentials."""
