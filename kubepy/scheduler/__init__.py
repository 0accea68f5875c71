"""The scheduler. `snapshot` (with `label` and `tally`) holds the cluster in columns, `cycle` decides for one pod (pure), `plugins/`
say what fits and what is better, `queue` says whose turn it is, `binding` and `failure` act, `scheduler` runs it all.

Only `scheduler`, `binding`, `failure`, `watch` and `main` do I/O; everything else is values and can be tested in tables.
"""
