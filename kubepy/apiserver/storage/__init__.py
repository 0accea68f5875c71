"""Objects in etcd and in memory: the etcd client, the watch cache of each resource, encryption at rest."""
