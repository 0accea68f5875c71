"""API priority and fairness: which requests run now, which wait, and which are refused (`k8s.io/apiserver/pkg/util/flowcontrol`).

`match` finds a request's flow, `queue` holds what waits in one priority level, `level` shares the server's seats out among levels, and
`controller` follows the FlowSchemas and PriorityLevelConfigurations.
"""
