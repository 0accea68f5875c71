"""A node with pods and a client: what the proxy's rules are tried on. The node is a network namespace that the calling thread enters (so
that backends, which use netlink, work in it), pods and client are others. Each has an IPv4 and, where the kernel has it, an IPv6 address:

    client 192.168.77.2, fd77::2 ── 192.168.77.1, fd77::1 node 10.244.0.1, fd44::1 ── pods 10.244.0.2, .3, …, fd44::2, ::3, …

`listen` and `call` open sockets inside a namespace from a thread of this process.
"""
from __future__ import annotations

import ctypes
import socket
import subprocess
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
NODE = ""
"""The namespace of the thread that made the network."""
FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def enter(file):
    if LIBC.setns(file.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Net:
    def __init__(self, pods=3):
        self.tag = f"kpnet{uuid.uuid4().hex[:6]}"
        self.servers = []
        self.before = open("/proc/thread-self/ns/net")  # noqa: SIM115
        if LIBC.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        self.ipv6 = Path("/proc/net/if_inet6").exists()
        self.node = NODE
        self.client, *self.pods = self.names = [f"{self.tag}-{name}" for name in ("client", *(f"pod{number}" for number in range(pods)))]
        self._batch(NODE, "link set lo up", *(f"netns add {name}" for name in self.names),
                    f"link add up0 type veth peer name eth0 netns {self.client}", "link set up0 up",
                    *self._addresses("up0", "192.168.77.1/24", "fd77::1/64"), "link add cni0 type bridge", "link set cni0 up",
                    *self._addresses("cni0", "10.244.0.1/24", "fd44::1/64"))
        self._pod(self.client, ("192.168.77.2/24", "192.168.77.1"), ("fd77::2/64", "fd77::1"))
        for route in self._routes("192.168.77.2", "fd77::2"):
            run("ip", *route.split())
        for path, value in (("ipv4/ip_forward", "1"), ("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/default/rp_filter", "0"),
                            # redirects count against the limit of ICMP messages, and refusals are lost
                            ("ipv4/conf/all/send_redirects", "0"), ("ipv4/conf/up0/send_redirects", "0"),
                            ("ipv4/icmp_ratelimit", "0"), ("ipv6/icmp/ratelimit", "0"), ("ipv6/conf/all/forwarding", "1"),
                            ("bridge/bridge-nf-call-iptables", "1"), ("bridge/bridge-nf-call-ip6tables", "1")):
            with suppress(OSError):
                (Path("/proc/sys/net") / path).write_text(value)
        for index, pod in enumerate(self.pods):
            self._batch(NODE, f"link add p{index} type veth peer name eth0 netns {pod}", f"link set p{index} master cni0 up")
            run("bridge", "link", "set", "dev", f"p{index}", "hairpin", "on")
            self._pod(pod, (f"10.244.0.{index + 2}/24", "10.244.0.1"), (f"fd44::{index + 2}/64", "fd44::1"))

    @staticmethod
    def _batch(ns, *lines):
        command = ["ip", *(["-n", ns] if ns else []), "-batch", "-"]
        subprocess.run(command, input="\n".join(lines), check=True, capture_output=True, text=True)

    def _addresses(self, device, ipv4, ipv6):
        return [f"addr add {ipv4} dev {device}", *([f"addr add {ipv6} dev {device} nodad"] if self.ipv6 else [])]

    def _routes(self, ipv4, ipv6):
        return [f"route add default via {ipv4}", *([f"-6 route add default via {ipv6}"] if self.ipv6 else [])]

    def _pod(self, ns, ipv4, ipv6):
        routes = self._routes(ipv4[1], ipv6[1])
        self._batch(ns, "link set lo up", "link set eth0 up", *self._addresses("eth0", ipv4[0], ipv6[0]), routes[0])
        if self.ipv6:
            run("ip", "-n", ns, *routes[1].split())

    def inside(self, ns, *argv):
        return run(*(["ip", "netns", "exec", ns] if ns else []), *argv)

    def close(self):
        for server in self.servers:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)
        enter(self.before)
        self.before.close()

    def do(self, ns, work):
        """Runs `work()` in a thread that has entered the namespace."""

        def inside():
            if ns:
                with open(f"/run/netns/{ns}") as file:
                    enter(file)
            return work()

        with ThreadPoolExecutor(1) as pool:  # a thread of its own: it stays in the namespace
            return pool.submit(inside).result()

    def listen(self, index, port=8080, kind=socket.SOCK_STREAM, protocol=0):
        """A server in a pod that answers `pod-INDEX CLIENT-ADDRESS` at once and then `more` to all that comes."""

        def make():
            made = socket.socket(socket.AF_INET6 if self.ipv6 else socket.AF_INET, kind, protocol)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("::" if self.ipv6 else "0.0.0.0", port))
            if kind == socket.SOCK_STREAM:
                made.listen(64)
            return made

        server = self.do(self.pods[index], make)
        self.servers.append(server)

        def shown(address):
            return f"pod-{index} {address[0].removeprefix('::ffff:')}".encode()

        def talk(peer, address):
            with peer, suppress(OSError):
                peer.sendall(shown(address))
                while peer.recv(100):
                    peer.sendall(b"more")

        def serve():
            with suppress(OSError):
                while True:
                    if kind == socket.SOCK_STREAM:
                        threading.Thread(target=talk, args=server.accept(), daemon=True).start()
                    else:
                        _, address = server.recvfrom(100)
                        if address is None:
                            return
                        server.sendto(shown(address), address)

        threading.Thread(target=serve, daemon=True).start()
        return server

    def open(self, ns, address, port, kind=socket.SOCK_STREAM, timeout=3.0, source=0, protocol=0):
        """A connected socket inside a namespace."""

        def work():
            client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind, protocol)
            client.settimeout(timeout)
            if source:
                client.bind(("", source))
            try:
                client.connect((address, port))
            except BaseException:
                client.close()
                raise
            return client

        return self.do(ns, work)

    def call(self, ns, address, port, kind=socket.SOCK_STREAM, timeout=3.0, protocol=0):
        """(pod, source address seen), or the error's name: refused, timeout."""
        try:
            with self.open(ns, address, port, kind, timeout, protocol=protocol) as client:
                if kind == socket.SOCK_DGRAM:
                    client.send(b"x")
                pod, source = client.recv(100).decode().split()
                return pod, source
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"

    def spread(self, ns, address, port, count=60):
        return Counter(answer[0] for answer in (self.call(ns, address, port) for _ in range(count)))
