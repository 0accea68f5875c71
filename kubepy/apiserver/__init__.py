"""The API server: the only process that talks to etcd."""
