"""`kubepy controller-manager`: the flags of kube-controller-manager, and its run loop."""
from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from kubepy.base.flag import add_boolean, add_duration, add_number, comma_list
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client import daemon
from kubepy.client.flag import accept, refused, refused_when
from kubepy.client.http import HttpClient
from kubepy.client.informer import InformerFactory
from kubepy.client.interface import Client
from kubepy.client.kubeconfig import find
from kubepy.controllers import manager
from kubepy.controllers.certificate.request import CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY
from kubepy.controllers.cloud.inventory import Inventory
from kubepy.controllers.cloud.pool import parse_pool
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.identity import Identities
from kubepy.controllers.kit.option import Options
from kubepy.controllers.kit.share import Sharing
from kubepy.controllers.volume.recycle import Recycling, Scrubbing, read_template

NAME = "kube-controller-manager"
log = get_logger("manager")
SIGNER_FLAGS = {"kubelet-serving": KUBELET_SERVING, "kubelet-client": KUBELET_CLIENT, "kube-apiserver-client": CLIENT,
                "legacy-unknown": LEGACY}
WORKERS = {
    "cron-job": 5, "daemonset": 2, "deployment": 5, "device-taint-eviction": 8, "disruption": 5,
    "endpoint": 5, "ephemeralvolume": 5, "gc": 20,
    "horizontal-pod-autoscaler": 5, "job": 5, "namespace": 10, "node": 1, "rc": 5, "replicaset": 5, "resource-claim": 5,
    "resource-quota": 5, "service": 1, "service-endpoint": 5, "serviceaccount-token": 5, "statefulset": 5,
    "ttl-after-finished": 5, "validating-admission-policy-status": 5,
}


def parser() -> argparse.ArgumentParser:
    result = daemon.parser(NAME, secure_port=10257, description="Brings a cluster to the state its objects describe.")
    which = result.add_argument_group("controllers")
    names = ", ".join(entry.name for entry in manager.CONTROLLERS)
    which.add_argument("--controllers", type=comma_list, default=["*"], metavar="NAMES",
                       help=f"'*' all that are on by default, 'name' one more, '-name' one less (default *). There are: {names}")
    add_boolean(which, "--use-service-account-credentials", False, "each controller acts as its own service account in kube-system")
    for flag, count in WORKERS.items():
        which.add_argument(f"--concurrent-{flag}-syncs", dest=f"workers_{flag}", type=int, default=count, metavar="N",
                           help=f"objects worked on at once (default {count})")
    network = result.add_argument_group("network")
    network.add_argument("--cluster-cidr", type=comma_list, default=[], metavar="CIDRS", help="pod addresses, one range a family")
    network.add_argument("--service-cluster-ip-range", type=comma_list, default=[], metavar="CIDRS", help="range of service addresses")
    add_boolean(network, "--allocate-node-cidrs", False, "give each node a part of the cluster CIDR")
    add_number(network, "--node-cidr-mask-size", 0, "mask of a node's part (default 24, IPv6 64)")
    add_number(network, "--node-cidr-mask-size-ipv4", 0, "the same for IPv4 in dual stack")
    add_number(network, "--node-cidr-mask-size-ipv6", 0, "the same for IPv6 in dual stack")
    add_boolean(network, "--configure-cloud-routes", True, "whether a provider that can makes routes to the nodes' pods")
    add_duration(network, "--route-reconciliation-period", "10s", "how often these routes are looked at")
    network.add_argument("--cidr-allocator-type", default="RangeAllocator", choices=["RangeAllocator"], help="how node CIDRs are chosen")
    add_number(network, "--max-endpoints-per-slice", 100, "endpoints in one slice")
    add_duration(network, "--endpoint-updates-batch-period", "0s", "wait this long to put changes of endpoints together")
    add_duration(network, "--endpointslice-updates-batch-period", "0s", "wait this long to put changes of slices together")
    pki = result.add_argument_group("certificates and tokens")
    pki.add_argument("--cluster-name", default="kubernetes", metavar="NAME", help="name of the cluster")
    pki.add_argument("--root-ca-file", default="", metavar="FILE", help="CA bundle published in every namespace as kube-root-ca.crt")
    pki.add_argument("--service-account-private-key-file", default="", metavar="FILE", help="key that signs legacy token secrets")
    pki.add_argument("--cluster-signing-cert-file", default="", metavar="FILE", help="CA that signs certificate requests")
    pki.add_argument("--cluster-signing-key-file", default="", metavar="FILE", help="its key")
    for flag, signer in SIGNER_FLAGS.items():
        pki.add_argument(f"--cluster-signing-{flag}-cert-file", dest=f"{flag}_cert", default="", metavar="FILE",
                         help=f"another CA for the signer {signer}")
        pki.add_argument(f"--cluster-signing-{flag}-key-file", dest=f"{flag}_key", default="", metavar="FILE", help="its key")
    add_duration(pki, "--cluster-signing-duration", "8760h", "longest validity of signed certificates")
    node = result.add_argument_group("nodes and pods")
    add_duration(node, "--node-monitor-period", "5s", "how often nodes are looked at")
    add_duration(node, "--node-monitor-grace-period", "50s", "silence after which a node is taken for unhealthy")
    add_duration(node, "--node-startup-grace-period", "1m0s", "the same for a node that is starting")
    add_number(node, "--node-eviction-rate", 0.1, "nodes evicted a second in a healthy zone")
    add_number(node, "--secondary-node-eviction-rate", 0.01, "the same in an unhealthy zone")
    add_number(node, "--unhealthy-zone-threshold", 0.55, "fraction of silent nodes that makes a zone unhealthy")
    add_number(node, "--large-cluster-size-threshold", 50, "nodes above which the secondary rate counts")
    add_number(node, "--terminated-pod-gc-threshold", 12500, "ended pods that are kept")
    periods = result.add_argument_group("periods")
    add_duration(periods, "--namespace-sync-period", "5m0s", "accepted for compatibility: namespaces are watched")
    add_duration(periods, "--resource-quota-sync-period", "5m0s", "how often quota use is counted anew")
    add_duration(periods, "--pvclaimbinder-sync-period", "15s", "how often volumes and claims are looked at")
    add_duration(periods, "--horizontal-pod-autoscaler-sync-period", "15s", "how often autoscalers look at metrics")
    add_duration(periods, "--horizontal-pod-autoscaler-downscale-stabilization", "5m0s", "how long a high recommendation holds")
    add_duration(periods, "--horizontal-pod-autoscaler-cpu-initialization-period", "5m0s", "time after start when CPU may be skipped")
    add_duration(periods, "--horizontal-pod-autoscaler-initial-readiness-delay", "30s", "time in which readiness counts as initial")
    add_number(periods, "--horizontal-pod-autoscaler-tolerance", 0.1, "change that is ignored")
    add_duration(pki, "--legacy-service-account-token-clean-up-period", "8760h",
                 "unused token secrets are invalidated, then removed after it")
    network.add_argument("--load-balancer-pool", type=comma_list, default=[], metavar="RANGES", help="addresses for services of type "
                         "LoadBalancer: CIDRs, first-last, or single ones (kubepy's own provider; default: none)")
    node.add_argument("--machine-file", default="", metavar="FILE",
                      help="YAML list of the machines behind the nodes (kubepy's own provider; default: nobody is asked)")
    add_boolean(network, "--kernel-routes", False, "make routes to the nodes' pods in this machine's kernel (kubepy's own provider)")
    network.add_argument("--node-dns-service", default="", metavar="NS/NAME", help="the Service (without a selector) whose endpoints are "
                         "the nodes that run kubepy dns and answer (kubepy's own; default: none)")
    volume = result.add_argument_group("local-path volumes (kubepy's own)")
    volume.add_argument("--local-path-node", default="", metavar="NAME", help="the node this runs on: its local-path volumes are made here")
    volume.add_argument("--local-path-directory", default="/var/lib/kubepy/volumes", metavar="DIR", help="where (default %(default)s)")
    add_boolean(result, "--enable-garbage-collector", True, "whether objects whose owners are gone are removed")
    add_boolean(result, "--enable-dynamic-provisioning", True, "accepted for compatibility: provisioners are separate")
    add_boolean(result, "--enable-hostpath-provisioner", False, "accepted for compatibility: use the local-path class")
    add_boolean(result, "--disable-attach-detach-reconcile-sync", False, "accepted for compatibility")
    add_boolean(result, "--disable-force-detach-on-timeout", False, "wait for ever until nodes say that they are done with a volume")
    add_duration(result, "--controller-shutdown-timeout", "10s", "time for controllers to end before the process does")
    _add_recycling(result.add_argument_group("the reclaim policy Recycle (deprecated)"))
    _add_clouds(result.add_argument_group("clouds"))
    add_duration(periods, "--attach-detach-reconcile-sync-period", "1m0s", "accepted for compatibility: attachments are watched")
    add_duration(periods, "--min-resync-period", "12h", "accepted for compatibility: caches do not resync")
    add_duration(periods, "--controller-start-interval", "0s", "accepted for compatibility")
    network.add_argument("--mirroring-concurrent-service-endpoint-syncs", dest="workers_mirroring", type=int, default=5, metavar="N",
                         help="mirrored Endpoints worked on at once (default 5)")
    add_duration(network, "--mirroring-endpointslice-updates-batch-period", "0s", "wait this long to put changes of Endpoints together")
    add_number(network, "--mirroring-max-endpoints-per-subset", 1000, "addresses of a subset that are mirrored")
    return result


def _add_recycling(group: argparse._ActionsContainer) -> None:
    for kind, shown, minimum, each in (("nfs", "NFS", 300, "--pv-recycler-increment-timeout-nfs"),
                                       ("hostpath", "hostPath", 60, "--pv-recycler-timeout-increment-hostpath")):
        group.add_argument(f"--pv-recycler-pod-template-filepath-{kind}", default="", metavar="FILE",
                           help=f"the pod that scrubs {shown} volumes (default: busybox)")
        add_number(group, f"--pv-recycler-minimum-timeout-{kind}", minimum, f"least seconds for scrubbing {shown} volumes")
        group.add_argument(each, dest=f"pv_recycler_increment_{kind}", type=int, default=30, metavar="N",
                           help=f"seconds for each Gi of {shown} volumes (default 30)")


def _add_clouds(group: argparse._ActionsContainer) -> None:
    group.add_argument("--cloud-provider", type=refused("clouds have managers of their own", harmless=("", "external")), default="",
                       metavar="NAME", help="accepted for compatibility: only '' and external")
    for name, text in (("--cloud-config", "clouds have managers of their own"), ("--external-cloud-volume-plugin", "there are none"),
                       ("--flex-volume-plugin-dir", "flex volumes are the kubelet's")):
        accept(group, name, text)
    migration = "there is no other manager to share controllers with"
    group.add_argument("--enable-leader-migration", type=refused_when(True, migration), default=False, metavar="BOOL",
                       help="only false: " + migration)
    group.add_argument("--leader-migration-config", type=refused(migration), default="", metavar="FILE", help=argparse.SUPPRESS)


def recycling(args: argparse.Namespace) -> Recycling:
    """Raises OSError, ValueError for templates that cannot be used."""
    return Recycling(
        host_path=Scrubbing(read_template(args.pv_recycler_pod_template_filepath_hostpath), args.pv_recycler_minimum_timeout_hostpath,
                            args.pv_recycler_increment_hostpath),
        nfs=Scrubbing(read_template(args.pv_recycler_pod_template_filepath_nfs), args.pv_recycler_minimum_timeout_nfs,
                      args.pv_recycler_increment_nfs))


def options(args: argparse.Namespace) -> Options:
    """Raises OSError when a file that is named cannot be read."""
    mask = args.node_cidr_mask_size
    return Options(
        cluster_cidr=tuple(args.cluster_cidr), service_cluster_ip_range=tuple(args.service_cluster_ip_range),
        allocate_node_cidrs=args.allocate_node_cidrs,
        node_cidr_mask_size_ipv4=args.node_cidr_mask_size_ipv4 or mask or 24,
        node_cidr_mask_size_ipv6=args.node_cidr_mask_size_ipv6 or (mask if mask > 32 else 0) or 64,
        cluster_name=args.cluster_name,
        root_ca=Path(args.root_ca_file).read_text() if args.root_ca_file else "",
        cluster_signing_cert_file=args.cluster_signing_cert_file, cluster_signing_key_file=args.cluster_signing_key_file,
        signers={signer: (getattr(args, f"{flag}_cert"), getattr(args, f"{flag}_key"))
                 for flag, signer in SIGNER_FLAGS.items() if getattr(args, f"{flag}_cert")},
        cluster_signing_duration=args.cluster_signing_duration,
        node_monitor_period=args.node_monitor_period, node_monitor_grace_period=args.node_monitor_grace_period,
        node_startup_grace_period=args.node_startup_grace_period, node_eviction_rate=args.node_eviction_rate,
        secondary_node_eviction_rate=args.secondary_node_eviction_rate, unhealthy_zone_threshold=args.unhealthy_zone_threshold,
        large_cluster_size_threshold=args.large_cluster_size_threshold, terminated_pod_gc_threshold=args.terminated_pod_gc_threshold,
        endpoint_updates_batch_period=args.endpoint_updates_batch_period,
        endpointslice_updates_batch_period=args.endpointslice_updates_batch_period, max_endpoints_per_slice=args.max_endpoints_per_slice,
        resource_quota_sync_period=args.resource_quota_sync_period, namespace_sync_period=args.namespace_sync_period,
        pvclaimbinder_sync_period=args.pvclaimbinder_sync_period,
        hpa_sync_period=args.horizontal_pod_autoscaler_sync_period, hpa_tolerance=args.horizontal_pod_autoscaler_tolerance,
        hpa_downscale_stabilization=args.horizontal_pod_autoscaler_downscale_stabilization,
        hpa_cpu_initialization_period=args.horizontal_pod_autoscaler_cpu_initialization_period,
        hpa_initial_readiness_delay=args.horizontal_pod_autoscaler_initial_readiness_delay,
        local_path_node=args.local_path_node, local_path_directory=args.local_path_directory,
        node_dns_service=args.node_dns_service,
        service_account_private_key=_read(args.service_account_private_key_file),
        legacy_token_clean_up_period=args.legacy_service_account_token_clean_up_period,
        load_balancer_pool=tuple(args.load_balancer_pool),
        machine_file=args.machine_file, kernel_routes=args.kernel_routes, configure_cloud_routes=args.configure_cloud_routes,
        route_reconciliation_period=args.route_reconciliation_period,
        mirroring_batch_period=args.mirroring_endpointslice_updates_batch_period,
        mirroring_max_endpoints=args.mirroring_max_endpoints_per_subset,
        gates=args.feature_gates, recycling=recycling(args), force_detach=not args.disable_force_detach_on_timeout,
        shutdown_timeout=args.controller_shutdown_timeout,
        workers={flag: getattr(args, f"workers_{flag}") for flag in (*WORKERS, "mirroring")},
    )


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if path else b""


def main(argv: list[str]) -> int:
    flags = parser()
    args = flags.parse_args(argv)
    try:
        off = [] if args.enable_garbage_collector else ["-garbage-collector-controller"]
        entries, settings = manager.choose([*args.controllers, *off]), options(args)
        parse_pool(settings.load_balancer_pool)
        if settings.machine_file:
            Inventory(Path(settings.machine_file)).read()
    except (manager.UnknownController, OSError, ValueError) as error:
        flags.error(str(error))

    prepared: list[tuple[Environment, manager.Runtimes, Identities | None]] = []

    def prepare(shell: daemon.Daemon) -> None:
        """Controllers and their tokens, which take a second or two to get, are there before this one leads."""
        found = find(args.kubeconfig, server=args.master)
        tasks = Tasks("controllers", shell.clock)
        identities = Identities(shell.client, found, shell.clock, tasks) if args.use_service_account_credentials else None
        collector = "generic-garbage-collector"  # it reads every resource, which the manager itself may not
        metadata = identities.client(collector, metadata_only=True) if identities is not None else HttpClient(
            found, user_agent=f"{NAME}/{collector}", metadata_only=True)

        def client_for(account: str) -> Client:
            return identities.client(account) if identities is not None else shell.client

        def kubelet(url: str) -> Client:
            shown = replace(found, server=url, server_name="", token="", token_file="", username="", password="", impersonate="")
            return HttpClient(shown, user_agent=NAME, connections=1)

        # fresh: a new leader sees all that the last one did
        informers = InformerFactory(shell.client, transform=Sharing(), clock=shell.clock, fresh=True)
        env = Environment(client_for, informers, tasks, settings, shell.clock, metadata, kubelet)
        prepared.append((env, manager.build(env, entries), identities))

    async def work(shell: daemon.Daemon) -> None:
        [(env, runtimes, identities)] = prepared
        shell.health.ready["informer-sync"] = env.informers.synced
        try:
            await manager.run(env, runtimes, identities.wait if identities is not None else None)
        finally:
            try:
                await asyncio.wait_for(env.tasks.stop(), settings.shutdown_timeout or None)
            except TimeoutError:
                log.warning("Controllers have not ended in time", seconds=settings.shutdown_timeout)
            if env.metadata_client is not None:
                await env.metadata_client.close()
            if identities is not None:
                await identities.close()

    config = {"kubecontrollermanager.config.k8s.io": {"Generic": {"Controllers": args.controllers}}}
    return daemon.run(NAME, args, work, config=config, prepare=prepare)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
