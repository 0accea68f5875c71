"""Small virtual machines with a kernel of their own (user-mode-linux, Debian's package of that name): IPVS, cgroup v2 and loadable modules
where the machine at hand has none. No hardware support is needed, and it boots in four seconds.

A machine sees this machine's files, as they are at its start; what it writes goes to memory and is gone with it, but for its directory,
which it shares (`/run/shared`). It runs one script as root; standard output and errors are in `directory/log`.
With `systemd` the machine's own systemd is the first process and runs the script as a service; of this machine's units only those are
there that the distribution starts everywhere.
"""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

PROGRAM = "linux.uml"
MODULES = Path("/usr/lib/uml/modules")
SHARED = Path("/run/shared")
INIT = r"""#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
modules={modules}
mount -t tmpfs -o size={disk}m,mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
/bin/busybox insmod $modules/kernel/fs/overlayfs/overlay.ko
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root && mkdir .host && pivot_root . .host && cd /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
for place in /dev/shm /run; do mount -t tmpfs -o size={disk}m,mode=755 tmpfs $place; done
chmod 1777 /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/shared /run/netns /lib/modules
mount -t hostfs -o {directory} none /run/shared
ln -sfn $modules /lib/modules/$(uname -r)
# This kernel has no nf_tables of the families ip and ip6: iptables must be the older one.
for program in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  ln -sf /usr/sbin/xtables-legacy-multi /usr/local/sbin/$program
done
[ -e /sbin/modprobe ] || ln -s /bin/busybox /sbin/modprobe
echo /sbin/modprobe > /proc/sys/kernel/modprobe
for module in ipv6 br_netfilter; do modprobe $module; done
ip link set lo up
{first}
bash /run/shared/script > /run/shared/log 2>&1
echo $? > /run/shared/exit
sync
/bin/busybox poweroff -f
"""

SYSTEMD = r"""
rm -rf /etc/systemd/system/*.wants /etc/fstab /.dockerenv
ln -sf /dev/null /etc/tmpfiles.d/tmp.conf  # /tmp is this machine's
[ -s /etc/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
mkdir -p /run/systemd/system
cat > /run/systemd/system/script.service <<END
[Service]
ExecStart=/bin/bash /run/shared/script
ExecStopPost=/bin/sh -c 'echo \$EXIT_STATUS > /run/shared/exit; sync'
StandardOutput=append:/run/shared/log
StandardError=append:/run/shared/log
Environment=HOME=/root LC_ALL=C.UTF-8 PATH=$PATH
KillMode=process
END
mkdir -p /run/systemd/system/multi-user.target.wants
ln -s ../script.service /run/systemd/system/multi-user.target.wants/
: > /run/shared/log
exec /lib/systemd/systemd --unit=multi-user.target --show-status=false
"""
"""The end of INIT where systemd is to be the first process."""


class Machine:
    """`directory` is made if it is missing, and shared. `memory` in MB, of which files that are written take at most half. `network` is
    the name of a tap device, which is the machine's `vec0`; it must be in the network namespace that `command` enters. `disk` is a file
    that becomes its `/dev/ubda`."""

    def __init__(self, directory: Path, memory: int = 1024, network: str = "", disk: Path | None = None, command: tuple[str, ...] = ()
                 ) -> None:
        self.directory, self._memory, self._network, self._command = directory.resolve(), memory, network, command
        self._disk = disk
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str:
        """Why there can be no machines here; "" if nothing is missing."""
        if shutil.which(PROGRAM) is None or not MODULES.is_dir():
            return "the package user-mode-linux is not installed"
        return "" if Path("/bin/busybox").exists() else "the package busybox-static is not installed"

    def start(self, script: str, *, systemd: bool = False) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        modules = sorted(MODULES.iterdir())[-1]
        init = self.directory / "init"
        init.write_text(INIT.format(modules=modules, directory=self.directory, disk=self._memory // 2, first=SYSTEMD if systemd else ""))
        init.chmod(0o755)
        (self.directory / "script").write_text(script)
        (self.directory / "exit").unlink(missing_ok=True)
        words = [PROGRAM, f"mem={self._memory}M", "rootfstype=hostfs", "root=/dev/root", "hostfs=/", "ro", f"init={init}",
                 "con0=null,fd:1", "con=null", "quiet", f"uml_dir={self.directory}", "umid=uml"]
        if self._network:
            words.append(f"vec0:transport=tap,ifname={self._network},depth=128,gro=1")
        if self._disk is not None:
            words.append(f"ubda={self._disk}")
        with (self.directory / "console").open("wb") as console:
            # All of its processes are this machine's processes: they end with the one that is their init.
            self._process = subprocess.Popen([*self._command, "unshare", "--pid", "--fork", "--kill-child", *words],
                                             stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True)

            (self.directory / "pid").write_text(str(self._process.pid))

    @property
    def running(self) -> bool:
        """Also when another process has started it."""
        if self._process is not None:
            return self._process.poll() is None
        return self._pid is not None

    @property
    def _pid(self) -> int | None:
        try:
            pid = int((self.directory / "pid").read_text())
            return pid if str(self.directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes() else None
        except (OSError, ValueError):
            return None

    def wait(self, timeout: float) -> int:
        """Until the script has ended: its exit code. Raises TimeoutError when it has not in time, RuntimeError when the machine has
        broken down; either message holds the last of what was printed."""
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the virtual machine is still busy after {timeout:.0f} s:\n{self.printed()}")
            time.sleep(0.1)
        try:
            return int((self.directory / "exit").read_text())
        except (OSError, ValueError) as error:
            raise RuntimeError(f"the virtual machine has broken down:\n{self.printed()}") from error

    def printed(self, lines: int = 60) -> str:
        """The end of the console and of the script's output."""
        found = []
        for name in ("console", "log"):
            path = self.directory / name
            found += path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
        return "\n".join(found)

    def stop(self) -> None:
        """At once, as if the power were cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None
        elif (pid := self._pid) is not None:
            os.kill(pid, signal.SIGKILL)
