"""Who may use an image that is here already: images pulled with credentials are for pods that have them (upstream's image pull manager).

A record is kept for each image the kubelet has pulled, in `<root>/image_manager/pulled`; an image without one was there before and is
anybody's under the policy NeverVerifyPreloadedImages. Known difference: the files' form is our own.
"""
from __future__ import annotations

import contextlib
import fnmatch
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import orjson

from kubepy.api.types import Object
from kubepy.base.file import replace_file
from kubepy.kubelet.cri import runtime_pb2 as pb

POLICIES = ("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify")


def digest_of(auth: pb.AuthConfig) -> str:
    """Credentials as they are remembered."""
    return hashlib.sha256(auth.SerializeToString(deterministic=True)).hexdigest()


def secret_of(secret: Object) -> str:
    metadata = secret["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}/{metadata.get('uid', '')}"


class Records:
    def __init__(self, root: str, policy: str, allowed: Sequence[str]) -> None:
        """`allowed` are image names without tag, perhaps with a `*` at the end."""
        self._directory = Path(root, "image_manager", "pulled")
        self._policy = policy
        self._allowed = allowed

    def _file(self, image_id: str) -> Path:
        return self._directory / f"sha256-{hashlib.sha256(image_id.encode()).hexdigest()}"

    def _read(self, image_id: str) -> Object | None:
        try:
            found: Object = orjson.loads(self._file(image_id).read_bytes())
            return found
        except (OSError, ValueError):
            return None

    def pulled(self, image_id: str, name: str, auth: pb.AuthConfig | None, secrets: Collection[str]) -> None:
        """Notes a pull: without credentials it is everybody's."""
        record = self._read(image_id) or {"everybody": [], "credentials": {}, "secrets": {}}
        plain = name.partition("@")[0].rpartition(":")[0] or name
        if auth is None:
            record["everybody"] = sorted({*record["everybody"], plain})
        else:
            record["credentials"][plain] = sorted({*record["credentials"].get(plain, ()), digest_of(auth)})
            record["secrets"][plain] = sorted({*record["secrets"].get(plain, ()), *secrets})
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._file(image_id)
        replace_file(file, orjson.dumps(record))

    def accessible(self, image_id: str, name: str, auths: Sequence[pb.AuthConfig], secrets: Collection[str]) -> bool:
        """Whether a pod with these credentials may use the image without asking its registry."""
        plain = name.partition("@")[0].rpartition(":")[0] or name
        record = self._read(image_id)
        if self._policy == "NeverVerify":
            return True
        if self._policy == "NeverVerifyAllowlistedImages" and any(fnmatch.fnmatchcase(plain, pattern) for pattern in self._allowed):
            return True
        if record is None:
            return self._policy == "NeverVerifyPreloadedImages"
        if plain in record["everybody"]:
            return True
        return bool({digest_of(auth) for auth in auths} & set(record["credentials"].get(plain, ()))) or \
            bool(set(secrets) & set(record["secrets"].get(plain, ())))

    def forget(self, present: Collection[str]) -> None:
        """Records of images that are gone go."""
        keep = {self._file(image_id).name for image_id in present}
        with contextlib.suppress(OSError):
            for file in self._directory.iterdir():
                if file.name not in keep:
                    file.unlink()
