"""An Ingress controller: renders Ingress objects for nginx and keeps it running.

`plan` turns the objects into a `State` (pure), `nginx` renders that as a configuration (pure), `process` runs nginx with it,
`sync` watches and writes events and status. Optional: `kubepy up --ingress`, or `kubepy ingress` on any machine that reaches the pods.
"""
