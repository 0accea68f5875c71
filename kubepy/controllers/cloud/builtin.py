"""The built-in provider, from the controller manager's options: addresses of a pool, an operator's list of machines, kernel routes."""
from __future__ import annotations

from pathlib import Path

from kubepy.controllers.cloud.inventory import Inventory
from kubepy.controllers.cloud.kernelroute import KernelRoutes
from kubepy.controllers.cloud.pool import Pool, parse_pool
from kubepy.controllers.cloud.provider import Provider
from kubepy.controllers.kit.option import Options


def provider(options: Options) -> Provider:
    """Without its options it can do nothing, and the controllers of the cloud have nothing to do."""
    pool = options.load_balancer_pool
    return Provider(
        "kubepy",
        Pool(parse_pool(pool)) if pool else None,
        Inventory(Path(options.machine_file)) if options.machine_file else None,
        KernelRoutes() if options.kernel_routes else None)
