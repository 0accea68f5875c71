"""Signals as the CRI numbers them: in alphabetical order, which is no kernel's. Pure."""
from __future__ import annotations

_NAMES = ("", "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO", "SIGIOT",
          "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM",
          "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ",
          "SIGRTMIN", *(f"SIGRTMIN+{number}" for number in range(1, 16)), *(f"SIGRTMAX-{number}" for number in range(14, 0, -1)),
          "SIGRTMAX")
_NUMBERS = {name: number for number, name in enumerate(_NAMES)}


def stop_signal(name: str) -> int:
    """The number of `lifecycle.stopSignal`; 0 leaves it to the image and the runtime."""
    return _NUMBERS.get(name, 0)


def signal_name(number: int) -> str:
    """What a container's status shows; "" for a runtime that does not say."""
    return _NAMES[number] if 0 < number < len(_NAMES) else ""
