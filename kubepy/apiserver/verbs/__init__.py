"""What each verb does to a resource: get, list, create, update, patch, apply, delete, deletecollection, watch, connect."""
