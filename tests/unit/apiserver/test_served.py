"""Feature gates, and which versions a server serves by `--runtime-config`."""
from __future__ import annotations

import pytest

from kubepy.apiserver.authz import bootstrap
from kubepy.apiserver.feature import SWITCHABLE
from kubepy.apiserver.options import Options, parse
from kubepy.apiserver.registry.table import KINDS
from kubepy.apiserver.served import served
from kubepy.base.gate import DEFAULT, Gates

ALL = Gates(dict.fromkeys(SWITCHABLE, True))


def names(*words: str, features: Gates = ALL) -> set[str]:
    return {f"{kind.resource.api_version}/{kind.resource.plural}" for kind in served(words, features)}


@pytest.mark.parametrize(("words", "there", "missing"), [
    pytest.param(["storagemigration.k8s.io/v1beta1=true"], "storagemigration.k8s.io/v1beta1/storageversionmigrations",
                 "certificates.k8s.io/v1beta1/clustertrustbundles", id="one version"),
    pytest.param(["api/beta=true"], "certificates.k8s.io/v1beta1/podcertificaterequests",
                 "certificates.k8s.io/v1alpha1/clustertrustbundles",
                 id="all of a stage"),
    pytest.param(["api/all=true", "resource.k8s.io/v1alpha3=false"], "internal.apiserver.k8s.io/v1alpha1/storageversions",
                 "resource.k8s.io/v1alpha3/devicetaintrules", id="what is named itself wins over a stage"),
    pytest.param(["resource.k8s.io/v1alpha3=true", "resource.k8s.io/v1alpha3/devicetaintrules=false"],
                 "resource.k8s.io/v1alpha3/resourcepoolstatusrequests", "resource.k8s.io/v1alpha3/devicetaintrules", id="all but one kind"),
    pytest.param(["apps/v1/deployments=false"], "apps/v1/statefulsets", "apps/v1/deployments", id="a default one less"),
    pytest.param(["api/v1=false"], "apps/v1/deployments", "v1/pods", id="the core group by its other name"),
])
def test_what_is_asked_for(words: list[str], there: str, missing: str) -> None:
    found = names(*words)
    assert there in found
    assert missing not in found


def test_by_default_nothing_changes_and_gates_alone_change_nothing() -> None:
    assert served([], DEFAULT) == served([], ALL) == list(KINDS)


def test_what_has_a_gate_needs_it() -> None:
    assert "certificates.k8s.io/v1beta1/clustertrustbundles" not in names("certificates.k8s.io/v1beta1=true", features=DEFAULT)


@pytest.mark.parametrize(("flags", "words"), [
    (["--runtime-config=nobody.io/v1=true"], "unknown api groups nobody.io"),
    (["--runtime-config=apps/v1=maybe"], "must be true or false"),
])
def test_what_the_server_refuses(flags: list[str], words: str) -> None:
    assert any(words in problem for problem in parse(flags).check())


def test_a_gate_without_the_one_it_needs_is_off() -> None:
    assert not Options(feature_gates=("ClusterTrustBundleProjection=true",)).gates.enabled("ClusterTrustBundleProjection")
    found = Options(feature_gates=("ClusterTrustBundleProjection=true", "ClusterTrustBundle=true")).gates
    assert found.enabled("ClusterTrustBundleProjection")
    assert found.enabled("")


def test_roles_come_with_their_features() -> None:
    def rules(name: str, features: Gates) -> str:
        return str([role["rules"] for role in bootstrap.cluster_roles(features) if role["metadata"]["name"] == name])

    for name, word in (("system:node", "podcertificaterequests"), ("system:kube-scheduler", "devicetaintrules"),
                       ("system:controller:storage-version-migrator-controller", "storageversionmigrations/status")):
        assert word not in rules(name, DEFAULT)
        assert word in rules(name, ALL)
    bound = {binding["metadata"]["name"] for binding in bootstrap.cluster_role_bindings(ALL)}
    assert {"system:cluster-trust-bundle-discovery", "system:controller:podcertificaterequestcleaner"} <= bound
    assert "clustertrustbundles" in str(bootstrap.node_rules(ALL))
    assert "clustertrustbundles" not in str(bootstrap.node_rules())
