"""The Kubernetes API as values: types, metadata, errors, schema, selectors, patch, apply. No I/O is done here."""
