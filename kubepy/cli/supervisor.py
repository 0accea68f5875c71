"""Keeps the parts of a cluster running: starts them in order, probes them, restarts what dies, stops them in reverse.

The supervisor may be killed too: its state file names each process, and its successor takes running ones over
without disturbing them. The state file is also how `kubepy up` and `kubepy status` see what happens.
"""
from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import ssl
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
import orjson

from kubepy.base.backoff import Backoff
from kubepy.base.log import configure, get_logger
from kubepy.base.process import ProcessId
from kubepy.base.task import Tasks
from kubepy.cli.component import Component, Probe, plan_components
from kubepy.cli.join import identity
from kubepy.cli.node import stop_pods
from kubepy.cli.pki import PkiError
from kubepy.cli.prepare import prepare_identities, with_mtu
from kubepy.cli.settings import Settings

log = get_logger("supervisor")

RENEW_SECONDS = 6 * 3600.0
"""Between looks at how long this control plane's certificates are good for."""
STOP_WITH_PODS = signal.SIGUSR1
"""Asks the supervisor to stop like SIGTERM, and the containers of all pods with it."""

LOG_LIMIT = 64 << 20
"""Bytes after which a part's log is rotated; one old log is kept."""

Phase = Literal["waiting", "starting", "ready", "unhealthy", "restarting", "stopped"]


@dataclass(slots=True)
class Status:
    """What is known of one part; written to the state file after each change."""

    phase: Phase = "waiting"
    pid: int = 0
    started: int = 0
    since: float = 0.0
    """Epoch seconds of the last change of phase."""
    seconds: float = 0.0
    """How long the last start took until ready."""
    restarts: int = 0
    message: str = ""


class Supervisor:
    """Runs until `stop` is asked for; then everything it runs has ended."""

    def __init__(self, settings: Settings, components: tuple[Component, ...]) -> None:
        self._settings = settings
        self._components = components
        self._statuses = {component.name: Status() for component in components}
        self._was_ready = {component.name: asyncio.Event() for component in components}
        self._stopping = asyncio.Event()
        self._tasks = Tasks("supervisor")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        with_pods = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)

        def stop_with_pods() -> None:
            with_pods.set()
            self._stopping.set()

        loop.add_signal_handler(STOP_WITH_PODS, stop_with_pods)
        previous = read_state(self._settings)
        adoptable = {component.name: _adoptable(previous, component.name) for component in self._components}
        for name, process in adoptable.items():
            if process:  # known from the first state written on: killed before it probed all, the next one must find them too
                self._statuses[name] = Status("starting", process.pid, process.started, time.time())
        self._write_state()
        keepers = {component.name: self._tasks.start(self._keep(component, adoptable[component.name]), component.name)
                   for component in self._components}
        self._tasks.keep(self._rotate_logs, "rotate-logs")
        if self._settings.role == "node":
            self._tasks.keep(lambda: identity.keep_fresh(self._settings), "certificates")
        else:
            self._tasks.keep(self._renew, "certificates")
        await self._stopping.wait()
        log.info("Stopping", parts=len(keepers))
        for component in reversed(self._components):
            keepers[component.name].cancel()
            await asyncio.gather(keepers[component.name], return_exceptions=True)
            if component.name == "containerd" and with_pods.is_set():  # by now the kubelet is stopped and starts nothing again
                await self._stop_pods()
            await self._terminate(component)
        await self._tasks.stop()
        self._settings.state_file.unlink(missing_ok=True)

    async def _keep(self, component: Component, adopted: ProcessId | None) -> None:
        backoff = Backoff(0.25, 30.0)
        status = self._statuses[component.name]
        for name in component.after:
            await self._was_ready[name].wait()
        while True:
            began = time.monotonic()
            if adopted:
                process, adopted = adopted, None
                log.info("Taking over a running process", part=component.name, pid=process.pid)
            else:
                try:
                    process = await self._start(component)
                except OSError as error:
                    self._change(component, "restarting", f"cannot start {component.argv[0]}: {error.strerror}")
                    await asyncio.sleep(backoff.next())
                    continue
            status.pid, status.started = process.pid, process.started
            self._change(component, "starting")
            prober = self._tasks.start(self._probe(component, began), f"probe-{component.name}")
            try:
                code = await process.wait()
            finally:
                prober.cancel()
            if time.monotonic() - began > 60:
                backoff.reset()
            delay = backoff.next()
            status.restarts += 1
            how = "ended" if code is None else f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
            log.warning("A part ended and will be restarted", part=component.name, pid=process.pid, how=how, delay=delay)
            self._change(component, "restarting", f"{how}; see {self._log_path(component.name)}")
            await asyncio.sleep(delay)

    async def _start(self, component: Component) -> ProcessId:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "ETCD_UNSUPPORTED_ARCH": os.uname().machine}
        return await asyncio.to_thread(_spawn, component.argv, environment, self._log_path(component.name))

    async def _probe(self, component: Component, began: float) -> None:
        status = self._statuses[component.name]
        failures = 0
        async with _http_session(self._settings) as session:
            while True:
                problem = await probe(session, component.probe)
                if problem is None:
                    failures = 0
                    if status.phase != "ready":
                        status.seconds = round(time.monotonic() - began, 2)
                        self._was_ready[component.name].set()
                        self._change(component, "ready")
                elif status.phase == "ready":
                    failures += 1
                    if failures >= 3:
                        self._change(component, "unhealthy", problem)
                elif status.message != problem:
                    self._change(component, status.phase, problem)
                await asyncio.sleep(5 if status.phase == "ready" else 0.1)

    async def _stop_pods(self) -> None:
        try:
            async with asyncio.timeout(60):
                count = await stop_pods(self._settings.cri_endpoint)
            log.info("Stopped pods", count=count)
        except Exception as error:  # whatever fails here must not keep the rest from stopping
            log.error("Not every pod could be stopped", error)

    async def _terminate(self, component: Component) -> None:
        status = self._statuses[component.name]
        process = ProcessId(status.pid, status.started)
        if status.pid and process.alive():
            process.signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), component.grace)
            except TimeoutError:
                log.warning("A part did not stop in time and is killed", part=component.name, pid=status.pid)
                process.signal(signal.SIGKILL)
                await process.wait()
        self._change(component, "stopped")

    def _change(self, component: Component, phase: Phase, message: str = "") -> None:
        status = self._statuses[component.name]
        if status.phase != phase:
            status.since = time.time()
            log.v(1).info("Part changed", part=component.name, phase=phase, pid=status.pid)
        status.phase, status.message = phase, message
        self._write_state()

    def _write_state(self) -> None:
        state = {"pid": os.getpid(), "parts": {name: asdict(each) for name, each in self._statuses.items()}}
        partial = self._settings.state_file.with_suffix(".new")
        partial.write_bytes(orjson.dumps(state))
        partial.replace(self._settings.state_file)

    async def _renew(self) -> None:
        """Issues again, long before they end, the certificates of this control plane; the parts follow their files while they run."""
        while True:
            try:
                settings = Settings.load(self._settings.data_dir) or self._settings  # `kubepy up` may have given it other names since
                await asyncio.to_thread(prepare_identities, settings)
            except (OSError, PkiError) as error:
                log.error("Certificates cannot be renewed", error)
            await asyncio.sleep(RENEW_SECONDS)

    async def _rotate_logs(self) -> None:
        """Copies a log that has grown too large aside and empties it; the parts write in append mode, so they go on at its start."""
        while True:
            for component in self._components:
                path = self._log_path(component.name)
                if path.exists() and path.stat().st_size > LOG_LIMIT:
                    await asyncio.to_thread(_rotate, path)
            await asyncio.sleep(30)

    def _log_path(self, name: str) -> Path:
        return self._settings.log_dir / f"{name}.log"


async def probe(session: aiohttp.ClientSession, target: Probe) -> str | None:
    """None when the part is ready, else what is wrong."""
    try:
        if target.socket:
            _, writer = await asyncio.open_unix_connection(target.socket)
            writer.close()
            return None
        async with session.get(target.url) as answer:
            return None if answer.status == 200 else f"{target.url} answers {answer.status}: {(await answer.text())[:200]}"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"{target.socket or target.url}: {error or type(error).__name__}"


def _http_session(settings: Settings) -> aiohttp.ClientSession:
    # The health ports of the scheduler and controller manager use self-signed certificates, as upstream's do.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=aiohttp.ClientTimeout(total=5))


def read_state(settings: Settings) -> dict[str, Any]:
    """What the supervisor last wrote; empty where none runs or has run since boot."""
    try:
        state = orjson.loads(settings.state_file.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return state if isinstance(state, dict) else {}


def current_parts(settings: Settings) -> dict[str, Any]:
    """What the supervisor that runs now knows of each part; empty until it has written something itself."""
    state = read_state(settings)
    return dict(state["parts"]) if state and state["pid"] == running_pid(settings) else {}


def running_pid(settings: Settings) -> int | None:
    """The PID of the supervisor that holds the lock, or None."""
    try:
        with open(settings.lock_file) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        return None
    return None


def supervise(settings: Settings) -> int:
    """Runs the supervisor in this process until SIGTERM; 1 when another one already runs."""
    configure(settings.verbosity)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    settings.log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(settings.lock_file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("Another supervisor runs for this data directory", pid=running_pid(settings))
            return 1
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        asyncio.run(Supervisor(settings, plan_components(with_mtu(settings))).run())
    return 0


def _adoptable(state: dict[str, Any], name: str) -> ProcessId | None:
    known = state.get("parts", {}).get(name, {})
    process = ProcessId(known.get("pid", 0), known.get("started", 0))
    return process if process.pid and process.alive() else None


def _spawn(argv: tuple[str, ...], environment: dict[str, str], log_path: Path) -> ProcessId:
    """Starts a part in a session of its own, so that a signal to the terminal's group does not reach it."""
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log_path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
        pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsid=True)
    finally:
        os.close(null)
        os.close(output)
    # A child is a zombie at worst until we reap it, so its start time can always be read while it is ours.
    return ProcessId.of(pid) or ProcessId(pid, 0)


def _rotate(path: Path) -> None:
    old = path.with_suffix(".log.1")
    with open(path, "rb") as source, open(os.open(old, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as target:
        while block := source.read(1 << 20):
            target.write(block)
    os.truncate(path, 0)
