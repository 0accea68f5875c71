"""The PodSecurity plugin: refuses pods that violate their namespace's level, warns about what would make such pods, checks the labels.

Source: `k8s.io/pod-security-admission/admission`. Cluster-wide defaults and exemptions come from the
admission configuration file.
"""
from __future__ import annotations

from kubepy.api.errors import Invalid
from kubepy.api.quota import is_terminal
from kubepy.api.resource import NAMESPACES, PODS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.admission.pod_security.policy import PREFIX, Policies, Policy, evaluate, is_stricter, read_labels
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.services import Services

_TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}
_MAX_PODS = 3000
"""How many existing pods are looked at when a namespace is tightened."""


class PodSecurity(Plugin):
    name = "PodSecurity"
    validates = True

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._defaults, self._exempt = configured(services.admission.get(self.name) or {})

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        if operation not in ("CREATE", "UPDATE"):
            return False
        if same(resource, PODS):
            return subresource in ("", "ephemeralcontainers")
        return subresource == "" and (same(resource, NAMESPACES) or (resource.group, resource.plural) in _TEMPLATES)

    async def admit_valid(self, attributes: Attributes) -> None:
        resource, obj = attributes.context.kind.resource, attributes.obj
        if obj is None:
            return
        if same(resource, NAMESPACES):
            await self._namespace(attributes, obj)
            return
        policies = self._policies(attributes.namespace)
        if policies.is_open or self._is_exempt(attributes, obj):
            return
        if same(resource, PODS):
            if attributes.operation == "CREATE" or _is_significant(attributes.old or {}, obj):
                self._pod(attributes, policies, obj)
            return
        template = obj
        for part in _TEMPLATES[(resource.group, resource.plural)]:
            template = template.get(part) or {}
        if template.get("spec"):
            self._report(attributes, policies, template.get("metadata") or {}, template["spec"])

    def _policies(self, namespace: str) -> Policies:
        entry = self.services.store(NAMESPACES).cached("", namespace)
        if entry is None or not any(key.startswith(PREFIX) for key in entry.labels):
            return self._defaults
        return read_labels(entry.labels, self._defaults)[0]

    def _is_exempt(self, attributes: Attributes, obj: Object) -> bool:
        exempt = self._exempt
        if not exempt:
            return False
        for kind, value in (("namespaces", attributes.namespace), ("usernames", attributes.context.user.name),
                            ("runtimeClasses", _template(attributes, obj).get("runtimeClassName") or "")):
            if value and value in (exempt.get(kind) or ()):
                attributes.context.audit_annotations[PREFIX + "exempt"] = {"namespaces": "namespace", "usernames": "user"}.get(
                    kind, "runtimeClass")
                return True
        return False

    def _pod(self, attributes: Attributes, policies: Policies, pod: Object) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        violations = evaluate(policies.enforce, metadata, spec)
        attributes.context.audit_annotations[PREFIX + "enforce-policy"] = str(policies.enforce)
        if violations:
            raise refuse(attributes, f'violates PodSecurity "{policies.enforce}": {", ".join(map(str, violations))}')
        self._report(attributes, policies, metadata, spec)

    def _report(self, attributes: Attributes, policies: Policies, metadata: Object, spec: Object) -> None:
        """Warnings and audit annotations, which refuse nothing."""
        if violations := evaluate(policies.audit, metadata, spec):
            text = f'would violate PodSecurity "{policies.audit}": {", ".join(map(str, violations))}'
            attributes.context.audit_annotations[PREFIX + "audit-violations"] = text
        if violations := evaluate(policies.warn, metadata, spec):
            attributes.context.warn(f'would violate PodSecurity "{policies.warn}": {", ".join(map(str, violations))}')

    async def _namespace(self, attributes: Attributes, obj: Object) -> None:
        labels = obj["metadata"].get("labels") or {}
        policies, errors = read_labels(labels, self._defaults)
        name = obj["metadata"].get("name", "")
        if attributes.operation == "CREATE":
            if errors:
                raise Invalid.of("", "Namespace", name, errors)
            return
        old_policies, old_errors = read_labels(((attributes.old or {}).get("metadata") or {}).get("labels") or {}, self._defaults)
        if errors and [str(error) for error in errors] != [str(error) for error in old_errors]:
            raise Invalid.of("", "Namespace", name, errors)
        if not errors and is_stricter(policies.enforce, old_policies.enforce):
            await self._warn_of_pods(attributes, name, policies.enforce)

    async def _warn_of_pods(self, attributes: Attributes, namespace: str, policy: Policy) -> None:
        page = await self.services.store(PODS).list(namespace, resource_version="0", limit=_MAX_PODS)
        by_text: dict[str, list[str]] = {}
        for entry in page.entries:
            pod = entry.decode()
            if is_terminal(pod):
                continue
            if violations := evaluate(policy, pod["metadata"], pod["spec"]):
                by_text.setdefault(", ".join(violation.reason for violation in violations), []).append(entry.name)
        if not by_text:
            return
        attributes.context.warn(f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{policy}"')
        for text, names in sorted(by_text.items(), key=lambda item: min(item[1])):
            others = len(names) - 1
            more = f" (and {others} other {'pod' if others == 1 else 'pods'})" if others else ""
            attributes.context.warn(f"{min(names)}{more}: {text}")


def configured(given: Object) -> tuple[Policies, Object]:
    """Defaults and exemptions of a PodSecurityConfiguration; raises ValueError."""
    defaults = given.get("defaults") or {}
    policies, errors = read_labels({PREFIX + key: str(value) for key, value in defaults.items()})
    if errors:
        raise ValueError(f"PodSecurity configuration: {', '.join(map(str, errors))}")
    if "warn" not in defaults:  # unlike a namespace's label, the default for enforcing is none for warning
        policies = policies._replace(warn=Policy())
    exempt = {key: value for key, value in (given.get("exemptions") or {}).items() if value}
    if unknown := sorted(set(exempt) - {"namespaces", "usernames", "runtimeClasses"}):
        raise ValueError(f"PodSecurity configuration: unknown exemptions {unknown}")
    return policies, exempt


def _template(attributes: Attributes, obj: Object) -> Object:
    """The pod spec in an object."""
    resource = attributes.context.kind.resource
    for part in _TEMPLATES.get((resource.group, resource.plural), ()):
        obj = obj.get(part) or {}
    found: Object = obj.get("spec") or {}
    return found


def _is_significant(old: Object, new: Object) -> bool:
    """Whether an update changes anything that the checks look at: labels, tolerations and the like are not."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    ignored = ("tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "schedulingGates", "nodeSelector", "affinity")
    return any(before.get(key) != after.get(key) for key in {*before, *after} if key not in ignored)
