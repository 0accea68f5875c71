"""From a pod's object to what the runtime is told: sandbox and container configurations, environment, mounts. Mostly pure."""
