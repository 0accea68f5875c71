"""The shape of every built-in kind: definitions, compiled decoding with Kubernetes' words, OpenAPI documents."""
