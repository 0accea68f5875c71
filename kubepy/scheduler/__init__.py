"""The scheduler. `snapshot` (with `label`, `tally`, `volume`, `owner`, `device/`) holds the cluster in columns, `cycle` decides for one pod
(pure), `plugins/` say what fits and what is better, `queue` says whose turn it is, `preemption` who would have to go; `binding`,
`permit`, `evict` and `failure` act, `extender` and `advice` ask others, `watch` and `related` keep it all current, `scheduler` runs it.

Only `scheduler`, `binding`, `evict`, `failure`, `extender`, `device.claims`, `watch`, `related`, `main` and the acting half of plugins
(`post_filter`, `pre_bind`, `bind`, `post_bind`) do I/O; everything else is values and can be tested in tables.
"""
