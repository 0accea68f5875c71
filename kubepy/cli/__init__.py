"""The `kubepy` command: a cluster on this machine, its certificates, and each daemon's entry point."""
