"""Objects that are right, to be made wrong by `hostile`."""

from __future__ import annotations

from typing import Any

_POD = {
    "containers": [
        {
            "name": "a",
            "image": "x:1",
            "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "A", "value": "b"}],
            "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }
    ],
    "initContainers": [{"name": "i", "image": "x"}],
    "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]
            }
        }
    },
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": "b"}}}
    ],
}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": _POD["containers"], "volumes": _POD["volumes"]}}
_SELECTED = {"selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE}
_RULES = {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
_HOOK = {
    "webhooks": [
        {
            "name": "a.b.c",
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "sideEffects": "None",
            "failurePolicy": "Ignore",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 1,
            "rules": [{"apiGroups": ["x.y"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["z"]}],
        }
    ]
}
_ONCE = {"template": {"spec": {**_TEMPLATE["spec"], "restartPolicy": "Never"}}}
SANE: dict[str, dict[str, Any]] = {
    "pods": {"spec": _POD},
    "deployments": {"spec": {"replicas": 1, **_SELECTED, "strategy": {"rollingUpdate": {"maxSurge": "25%"}}}},
    "replicasets": {"spec": _SELECTED},
    "daemonsets": {"spec": _SELECTED},
    "jobs": {"spec": {"completions": 2, **_ONCE}},
    "statefulsets": {
        "spec": {
            "serviceName": "s",
            **_SELECTED,
            "volumeClaimTemplates": [
                {"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
            ],
        }
    },
    "cronjobs": {"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": _ONCE}}},
    "services": {"spec": {"ports": [{"port": 80, "targetPort": "http", "name": "a"}, {"port": 81, "name": "b"}], "selector": {"a": "b"}}},
    "configmaps": {"data": {"a": "b"}, "binaryData": {"c": "YQ=="}},
    "secrets": {"type": "Opaque", "stringData": {"a": "b"}},
    "persistentvolumeclaims": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    "persistentvolumes": {"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}},
    "ingresses": {
        "spec": {
            "rules": [
                {
                    "host": "a.b",
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]},
                }
            ]
        }
    },
    "roles": _RULES,
    "clusterroles": _RULES,
    "networkpolicies": {"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 80}]}]}},
    "horizontalpodautoscalers": {
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"},
            "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        }
    },
    "resourcequotas": {"spec": {"hard": {"pods": "10", "requests.cpu": "1"}, "scopes": ["NotTerminating"]}},
    "limitranges": {"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}, "max": {"cpu": "2"}}]}},
    "nodes": {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"}},
    "leases": {"spec": {"holderIdentity": "x"}},
    "endpointslices": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80, "name": "a"}]},
    "poddisruptionbudgets": {"spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}},
    "validatingwebhookconfigurations": _HOOK,
    "mutatingwebhookconfigurations": _HOOK,
    "validatingadmissionpolicies": {
        "spec": {
            "matchConstraints": {
                "resourceRules": [{"apiGroups": ["x.y"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["z"]}]
            },
            "validations": [{"expression": "object.metadata.name != 'x'", "message": "no"}],
        }
    },
    "customresourcedefinitions": {
        "spec": {
            "group": "x.y",
            "scope": "Namespaced",
            "names": {"plural": "zs", "kind": "Z"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".spec.a"}],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "properties": {
                                        "a": {"type": "string", "pattern": "^a+$", "default": "a"},
                                        "n": {"type": "integer", "minimum": 1},
                                    },
                                    "x-kubernetes-validations": [{"rule": "self.n > 0"}],
                                }
                            },
                        }
                    },
                }
            ],
        }
    },
    "flowschemas": {
        "spec": {
            "priorityLevelConfiguration": {"name": "global-default"},
            "matchingPrecedence": 1000,
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": "x"}}],
                    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True}],
                }
            ],
        }
    },
    "certificatesigningrequests": {"spec": {"request": "YQ==", "signerName": "a.b/c", "usages": ["digital signature"]}},
    "priorityclasses": {"value": 100},
    "storageclasses": {"provisioner": "a.b/c"},
    "runtimeclasses": {"handler": "x"},
    "resourceclaims": {
        "spec": {
            "devices": {
                "requests": [
                    {"name": "r", "exactly": {"deviceClassName": "d", "selectors": [{"cel": {"expression": "device.driver == 'x'"}}]}}
                ]
            }
        }
    },
}
"""By resource, without metadata."""
