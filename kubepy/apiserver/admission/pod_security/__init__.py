"""PodSecurity: the Pod Security Standards, their levels and versions, and the plugin that enforces, audits and warns."""
