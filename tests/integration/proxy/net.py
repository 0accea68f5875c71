"""A node with pods and a client, each a network namespace: what the proxy's rules are tried on.

    client 192.168.77.2 ── 192.168.77.1 node 10.244.0.1 ── pods 10.244.0.2, .3, …

`listen` and `call` open sockets inside a namespace from a thread of this process.
"""
from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


class Net:
    def __init__(self, pods=3):
        self.tag = f"kpnet{os.getpid()}"
        self.names = []
        self.servers = []
        self.node = self._make("node")
        self.client = self._make("client")
        run("ip", "link", "add", "up0", "netns", self.node, "type", "veth", "peer", "name", "eth0", "netns", self.client)
        self.inside(self.node, "ip", "addr", "add", "192.168.77.1/24", "dev", "up0")
        self.inside(self.node, "ip", "link", "set", "up0", "up")
        self._address(self.client, "192.168.77.2/24", "192.168.77.1")
        self.inside(self.node, "ip", "route", "add", "default", "via", "192.168.77.2")
        self.inside(self.node, "ip", "link", "add", "cni0", "type", "bridge")
        self.inside(self.node, "ip", "addr", "add", "10.244.0.1/24", "dev", "cni0")
        self.inside(self.node, "ip", "link", "set", "cni0", "up")
        self.inside(self.node, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                    "net.ipv4.conf.default.rp_filter=0")
        self.pods = []
        for index in range(pods):
            pod = self._make(f"pod{index}")
            run("ip", "link", "add", f"p{index}", "netns", self.node, "type", "veth", "peer", "name", "eth0", "netns", pod)
            self.inside(self.node, "ip", "link", "set", f"p{index}", "master", "cni0", "up")
            self.inside(self.node, "bridge", "link", "set", "dev", f"p{index}", "hairpin", "on")
            self._address(pod, f"10.244.0.{index + 2}/24", "10.244.0.1")
            self.pods.append(pod)

    def _make(self, name):
        full = f"{self.tag}-{name}"
        run("ip", "netns", "add", full)
        self.names.append(full)
        self.inside(full, "ip", "link", "set", "lo", "up")
        return full

    def _address(self, ns, address, gateway):
        self.inside(ns, "ip", "addr", "add", address, "dev", "eth0")
        self.inside(ns, "ip", "link", "set", "eth0", "up")
        self.inside(ns, "ip", "route", "add", "default", "via", gateway)

    def inside(self, ns, *argv):
        return run("ip", "netns", "exec", ns, *argv)

    def close(self):
        for server in self.servers:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)

    def do(self, ns, work):
        """Runs `work()` in a thread that has entered the namespace."""

        def enter():
            with open(f"/run/netns/{ns}") as file:
                if LIBC.setns(file.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return work()

        with ThreadPoolExecutor(1) as pool:  # a thread of its own: it stays in the namespace
            return pool.submit(enter).result()

    def listen(self, index, port=8080, kind=socket.SOCK_STREAM):
        """A server in a pod that answers `pod-INDEX CLIENT-ADDRESS`."""

        def make():
            made = socket.socket(socket.AF_INET, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("0.0.0.0", port))
            if kind == socket.SOCK_STREAM:
                made.listen(64)
            return made

        server = self.do(self.pods[index], make)
        self.servers.append(server)

        def serve():
            with suppress(OSError):
                while True:
                    if kind == socket.SOCK_STREAM:
                        peer, address = server.accept()
                        peer.sendall(f"pod-{index} {address[0]}".encode())
                        peer.close()
                    else:
                        _, address = server.recvfrom(100)
                        if address is None:
                            return
                        server.sendto(f"pod-{index} {address[0]}".encode(), address)

        threading.Thread(target=serve, daemon=True).start()
        return server

    def call(self, ns, address, port, kind=socket.SOCK_STREAM, timeout=1.5):
        """(pod, source address seen), or the error's name: refused, timeout."""

        def work():
            with socket.socket(socket.AF_INET, kind) as client:
                client.settimeout(timeout)
                try:
                    client.connect((address, port))
                    if kind == socket.SOCK_DGRAM:
                        client.send(b"x")
                    pod, source = client.recv(100).decode().split()
                    return pod, source
                except ConnectionRefusedError:
                    return "refused"
                except TimeoutError:
                    return "timeout"

        return self.do(ns, work)

    def spread(self, ns, address, port, count=60):
        return Counter(answer[0] for answer in (self.call(ns, address, port) for _ in range(count)))
