"""Migration of stored objects to the version their resource is stored in now."""
