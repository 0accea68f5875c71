"""The controls of the CIS Kubernetes Benchmark as data, and `kubepy cis`, which holds a running cluster against them.

`facts` gathers (all the I/O), the tables judge (values only), `command` prints. Numbers are those of benchmark v1.11. A control that
concerns files or flags which kubepy has not, or a judgement only an operator can make, says so instead of passing.
"""
