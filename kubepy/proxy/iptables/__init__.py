"""The iptables backend: `chain` names, `rule` renders the state (pure), `table` turns differences into iptables-restore input (pure),
`backend` runs the programs."""
