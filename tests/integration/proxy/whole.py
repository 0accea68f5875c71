"""Proxy and DNS as processes against a real API server, all inside one network namespace (run by `test_whole` under `unshare -n`)."""
from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dnslib
import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.apiserver import ApiServer

POD, CLUSTER_IP = "10.244.0.5", "10.96.0.77"


def spawn(name, *flags):
    code = f"import sys; from kubepy.{name}.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen([sys.executable, "-c", code, *flags])


@contextmanager
def daemon(name, *flags):
    process = spawn(name, *flags)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(10) == 0, name


def eventually(what, seconds=120):
    end = time.monotonic() + seconds
    while True:
        try:
            if result := what():
                return result
        except (OSError, AssertionError) as error:
            result = error
        if time.monotonic() > end:
            raise AssertionError(f"{what.__name__}: {result!r}")
        time.sleep(0.1)


def serve():
    listener = socket.create_server((POD, 8080))
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=talk, args=[peer], daemon=True).start()


def talk(peer):
    with peer:
        peer.sendall(b"hello")
        while peer.recv(100):
            peer.sendall(b"more")


FLUSH = {"iptables": "iptables -t nat -F", "nftables": "nft flush ruleset"}


def main(mode):
    for command in ("ip link set lo up", f"ip addr add {POD}/32 dev lo", "ip route add 10.96.0.0/16 dev lo"):
        subprocess.run(command.split(), check=True)
    threading.Thread(target=serve, daemon=True).start()
    with ExitStack() as stack:
        server = stack.enter_context(ApiServer())
        api = stack.enter_context(httpx.Client(base_url=server.url, verify=False, headers={"Authorization": f"Bearer {server.token}"}))
        common = ("--kubeconfig", server.kubeconfig, "-v", "2")
        own = server.directory / "proxy.conf"  # the proxy's rights are kube-proxy's
        own.write_text(Path(server.kubeconfig).read_text().replace("user: {token:", "user: {as: 'system:kube-proxy', token:"))
        flags = ("--kubeconfig", str(own), "--hostname-override", "me", "--cluster-cidr", "10.244.0.0/16",
                 "--proxy-mode", mode, "--iptables-sync-period", "1s")
        proxy = spawn("proxy", *flags)
        stack.callback(lambda: proxy.kill())
        stack.enter_context(daemon("dns", *common, "--listen", "127.0.0.1:10053", "--upstream", "127.0.0.1:1"))

        def made(path, body):
            answer = api.post(path, json=body)
            assert answer.status_code == 201, answer.text

        made("/api/v1/namespaces/default/services", {"metadata": {"name": "web"}, "spec": {"clusterIP": CLUSTER_IP, "ports": [
            {"name": "http", "port": 80, "targetPort": 8080}]}})

        def call(address=CLUSTER_IP, port=80):
            with socket.create_connection((address, port), 2) as client:
                return client.recv(100) == b"hello"

        def saved():
            show = ["iptables-save"] if mode == "iptables" else ["nft", "list", "ruleset"]
            return subprocess.run(show, capture_output=True, text=True, check=True).stdout

        def refused():
            if mode == "nftables":
                return f"{CLUSTER_IP} . tcp . 80 : goto reject-chain" in saved()
            return f"-d {CLUSTER_IP}/32" in saved() and "web:http has no endpoints" in saved()

        eventually(refused)
        made("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [POD], "conditions": {"ready": True}, "nodeName": "me"}]})
        began = time.monotonic()
        eventually(call)
        print(f"an endpoint serves after {time.monotonic() - began:.2f} s")

        def resolved():
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.settimeout(1)
            client.sendto(bytes(dnslib.DNSRecord.question("web.default.svc.cluster.local").pack()), ("127.0.0.1", 10053))
            reply = dnslib.DNSRecord.parse(client.recv(1000))
            client.close()
            return [str(record.rdata) for record in reply.rr] == [CLUSTER_IP]

        eventually(resolved)
        for url, wanted in (("http://127.0.0.1:10256/healthz", b"nodeEligible"), ("http://127.0.0.1:10249/proxyMode", mode.encode()),
                            ("http://127.0.0.1:10249/metrics", b"kubeproxy_sync_proxy_rules_duration_seconds"),
                            ("http://127.0.0.1:10054/ready", b"OK"), ("http://127.0.0.1:10054/metrics", b"coredns_dns_requests_total")):
            with urllib.request.urlopen(url) as answer:
                assert wanted in answer.read(), url
        with socket.create_connection((CLUSTER_IP, 80), 10) as going:
            assert going.recv(100) == b"hello"
            proxy.kill()
            proxy.wait()
            assert call(), "without a proxy the rules stay"
            proxy = spawn("proxy", *flags)
            subprocess.run(FLUSH[mode].split(), check=True)
            eventually(call, 30)
            going.sendall(b"x")
            assert going.recv(100) == b"more", "the connection goes on"
        api.delete("/api/v1/namespaces/default/services/web").raise_for_status()

        def gone():
            return CLUSTER_IP not in saved()

        eventually(gone)
        proxy.terminate()
        assert proxy.wait(10) == 0
    code = "import sys; from kubepy.proxy.main import main; sys.exit(main(['--cleanup']))"
    subprocess.run([sys.executable, "-c", code], check=True)
    left = subprocess.run(["iptables-save"], capture_output=True, text=True).stdout
    assert "KUBE" not in left + subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout.replace("kube-", "KUBE-")
    print("all good")


if __name__ == "__main__":
    main(sys.argv[1])
