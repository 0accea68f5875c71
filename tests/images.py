"""Images for tests, built here from Debian's busybox-static: no registry is needed.

`busybox` has every applet as a link in /bin; `echo` answers each HTTP request on port 8080 with its host name (busybox httpd
running a CGI script); `say` prints its arguments; the pause image is kubepy's own.
"""
from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from kubepy.kubelet.archive import File, docker_archive
from kubepy.kubelet.pause import pause_archive

BUSYBOX = "docker.io/library/busybox:1.36"
"""The full name, as the runtime reports it."""
ECHO = "localhost/kubepy/echo:1"
SAY = "localhost/kubepy/say:1"

_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nuser:x:1000:1000:user:/:/bin/sh\n"
_GROUP = b"root:x:0:\nnobody:x:65534:\nuser:x:1000:\nextra:x:50000:user\n"
_CGI = b"#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nhostname\n"


@cache
def busybox_files() -> tuple[File, ...]:
    binary = Path("/bin/busybox").read_bytes()
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    directories = [File(path) for path in ("bin", "etc", "root", "var", "usr", "home", "proc", "sys", "dev")] + [File("tmp", mode=0o1777)]
    links = [File(f"bin/{name}", link="/bin/busybox") for name in applets if name != "busybox"]
    return (*directories, File("bin/busybox", binary), File("etc/passwd", _PASSWD, 0o644), File("etc/group", _GROUP, 0o644), *links)


def busybox_archive() -> bytes:
    return docker_archive([BUSYBOX, BUSYBOX.replace(":1.36", ":latest")], busybox_files(), command=["sh"], env={"PATH": "/bin"})


def echo_archive() -> bytes:
    files = (*busybox_files(), File("www"), File("www/cgi-bin"), File("www/cgi-bin/index.cgi", _CGI))
    return docker_archive([ECHO], files, entrypoint=["httpd", "-f", "-p", "8080", "-h", "/www"], env={"PATH": "/bin"})


def say_archive() -> bytes:
    """Prints `entry` and its arguments, `default` where it is given none."""
    return docker_archive([SAY], busybox_files(), entrypoint=["echo", "entry"], command=["default"], env={"PATH": "/bin"})


def archives() -> dict[str, bytes]:
    return {"pause": pause_archive(), "busybox": busybox_archive(), "echo": echo_archive(), "say": say_archive()}


def main(socket: str) -> None:
    """Imports them all into the containerd at `socket`."""
    for name, archive in archives().items():
        subprocess.run(["ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", "-"], input=archive, check=True,
                       stdout=subprocess.DEVNULL)
        print(f"imported {name}")


if __name__ == "__main__":
    main(sys.argv[1])
