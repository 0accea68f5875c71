"""DNS metrics, under CoreDNS' names."""
from __future__ import annotations

from kubepy.base.metrics import counter, gauge, histogram

REQUESTS = counter("coredns_dns_requests_total", "Counter of DNS requests made per zone, protocol and family.", ("proto",))
RESPONSES = counter("coredns_dns_responses_total", "Counter of response status codes.", ("rcode",))
CACHE_HITS = counter("coredns_cache_hits_total", "The count of cache hits.")
CACHE_MISSES = counter("coredns_cache_misses_total", "The count of cache misses.")
CACHE_ENTRIES = gauge("coredns_cache_entries", "The number of elements in the cache.")
FORWARDED = histogram("coredns_proxy_request_duration_seconds", "Histogram of the time each request took.", ("to",),
                      (0.00025, 0.001, 0.004, 0.016, 0.064, 0.256, 1.024, 4.096))
FAILED = counter("coredns_forward_failed_total", "Counter of the number of requests no upstream resolver answered.")
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
