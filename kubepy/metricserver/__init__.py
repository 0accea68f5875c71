"""The metrics server: what nodes and pods use just now, as `metrics.k8s.io` (`kubernetes-sigs/metrics-server`).

    sample.py   the kubelet's text into numbers, two moments into rates (pure)
    present.py  numbers into NodeMetrics and PodMetrics, and kubectl's tables (pure)
    scrape.py   asking every kubelet
    access.py   who asks: the aggregator on behalf of a user, a client certificate, a token
    server.py   the API's paths
    main.py     `kubepy metrics-server`
"""
