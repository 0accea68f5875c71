"""NetworkPolicy on one node: `plan` turns policies and pods into chains and sets (pure), `transaction` into nft's input (pure),
`enforcer` watches and writes them."""
