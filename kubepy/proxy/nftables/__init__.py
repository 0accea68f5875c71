"""The nftables backend: `name` names, `rule` renders the state (pure), `transaction` turns differences into nft's input (pure),
`backend` runs nft."""
