"""What the EndpointSlice controller counts, under upstream's names."""
from __future__ import annotations

from kubepy.base.metrics import counter, exponential, gauge, histogram

_COUNTS = exponential(2, 2, 15)
ADDED = histogram("endpoint_slice_controller_endpoints_added_per_sync", "Number of endpoints added on each Service sync", (), _COUNTS)
REMOVED = histogram("endpoint_slice_controller_endpoints_removed_per_sync", "Number of endpoints removed on each Service sync", (), _COUNTS)
DESIRED = gauge("endpoint_slice_controller_endpoints_desired", "Number of endpoints desired")
SLICES = gauge("endpoint_slice_controller_num_endpoint_slices", "Number of EndpointSlices")
CHANGES = counter("endpoint_slice_controller_changes", "Number of EndpointSlice changes", ("operation",))
SYNCS = counter("endpoint_slice_controller_syncs", "Number of EndpointSlice syncs", ("result",))
