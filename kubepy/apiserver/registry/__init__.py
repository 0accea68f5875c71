"""Every built-in kind: names, defaults, validation, columns, one readable file each under `<group>/<kind>.py`."""
