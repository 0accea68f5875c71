"""`--admission-control-config-file`: AdmissionConfiguration, which holds the plugins' own configurations or names their files."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kubepy.apiserver.configuration import ConfigurationError, read

VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1alpha1"))
CONFIGURABLE = ("EventRateLimit", "ImagePolicyWebhook", "PodNodeSelector", "PodSecurity", "PodTolerationRestriction")
_SHAPE = {"plugins": [{"name": str, "path": str, "configuration": None}]}


def load(path: str) -> dict[str, Any]:
    """Each plugin's decoded configuration. Raises ConfigurationError or OSError; also for a plugin that takes none."""
    document = read(path, VERSIONS, "AdmissionConfiguration", _SHAPE)
    found: dict[str, Any] = {}
    for plugin in document.get("plugins") or ():
        name = plugin.get("name") or ""
        if name not in CONFIGURABLE:
            known = ", ".join(CONFIGURABLE)
            raise ConfigurationError(f"{path}: the admission plugin {name!r} takes no configuration here (known: {known})")
        given = plugin.get("configuration")
        if given is None and plugin.get("path"):
            file = Path(path).parent / plugin["path"]
            try:
                given = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            except yaml.YAMLError as error:
                raise ConfigurationError(f"{file}: yaml: {error}") from error
        if not isinstance(given, dict):
            raise ConfigurationError(f"{path}: the configuration of {name} is no object")
        found[name] = given
    return found
