"""The pause image, made here: no registry and no compiler is needed.

The pause process holds a pod's namespaces. As the first process of a shared PID namespace it must also reap orphans. Ours is a
static ELF program of some 200 bytes, assembled below for x86-64 and AArch64. It blocks SIGINT, SIGTERM and SIGCHLD and waits for
them with `rt_sigtimedwait`, so it needs no signal handlers: SIGCHLD reaps every child that ended, the others end it with code 0.
(A blocked signal is queued even for a namespace's first process, whose unhandled signals the kernel would otherwise drop.)
"""
from __future__ import annotations

import struct

from kubepy.kubelet.archive import File, docker_archive, machine_arch

PAUSE_IMAGE = "localhost/kubepy/pause:1"

_BASE = 0x400000
_SIGNALS = 1 << (2 - 1) | 1 << (15 - 1) | 1 << (17 - 1)  # SIGINT, SIGTERM, SIGCHLD
_MACHINE = {"amd64": 62, "arm64": 183}


class _Assembler:
    """Bytes with labels; jumps are patched once all labels are known."""

    def __init__(self) -> None:
        self.code = bytearray()
        self.labels: dict[str, int] = {}
        self.jumps: list[tuple[int, str, int]] = []

    def emit(self, data: bytes | int) -> None:
        self.code += struct.pack("<I", data) if isinstance(data, int) else data

    def label(self, name: str) -> None:
        self.labels[name] = len(self.code)


def _amd64() -> bytes:
    asm = _Assembler()

    def call(number: int) -> None:
        asm.emit(b"\xb8" + struct.pack("<I", number) + b"\x0f\x05")  # mov eax, number; syscall

    def jump(opcode: int, target: str) -> None:
        asm.jumps.append((len(asm.code) + 1, target, 0))
        asm.emit(bytes((opcode, 0)))

    asm.emit(b"\x48\x83\xec\x10")  # sub rsp, 16
    asm.emit(b"\x48\xc7\x04\x24" + struct.pack("<I", _SIGNALS))  # mov qword [rsp], signals
    asm.emit(b"\x31\xff\x48\x89\xe6\x31\xd2\x41\xba\x08\0\0\0")  # edi = SIG_BLOCK; rsi = rsp; edx = 0; r10 = 8
    call(14)  # rt_sigprocmask
    asm.label("wait")
    asm.emit(b"\x48\x89\xe7\x31\xf6\x31\xd2\x41\xba\x08\0\0\0")  # rdi = rsp; esi = edx = 0; r10 = 8
    call(128)  # rt_sigtimedwait
    for signal, target in ((17, "reap"), (2, "exit"), (15, "exit")):
        asm.emit(bytes((0x83, 0xF8, signal)))  # cmp eax, signal
        jump(0x74, target)  # je
    jump(0xEB, "wait")
    asm.label("reap")
    asm.emit(b"\x6a\xff\x5f\x31\xf6\xba\x01\0\0\0\x45\x31\xd2")  # rdi = -1; esi = 0; edx = WNOHANG; r10 = 0
    call(61)  # wait4
    asm.emit(b"\x85\xc0")  # test eax, eax
    jump(0x7F, "reap")  # jg
    jump(0xEB, "wait")
    asm.label("exit")
    asm.emit(b"\x31\xff")  # edi = 0
    call(231)  # exit_group
    for position, target, _ in asm.jumps:
        asm.code[position] = (asm.labels[target] - position - 1) & 0xFF
    return bytes(asm.code)


def _arm64() -> bytes:
    asm = _Assembler()

    def move(register: int, value: int) -> None:
        asm.emit(0xD2800000 | value << 5 | register)  # movz

    def stack(register: int) -> None:
        asm.emit(0x91000000 | 31 << 5 | register)  # mov register, sp

    def call(number: int) -> None:
        move(8, number)
        asm.emit(0xD4000001)  # svc #0

    def branch(target: str, condition: int | None = None) -> None:
        asm.jumps.append((len(asm.code), target, -1 if condition is None else condition))
        asm.emit(0)

    asm.emit(0xD10043FF)  # sub sp, sp, #16
    move(9, _SIGNALS & 0xFFFF)
    asm.emit(0xF2A00000 | _SIGNALS >> 16 << 5 | 9)  # movk x9, signals >> 16, lsl #16
    asm.emit(0xF90003E9)  # str x9, [sp]
    move(0, 0)
    stack(1)
    move(2, 0)
    move(3, 8)
    call(135)  # rt_sigprocmask
    asm.label("wait")
    stack(0)
    move(1, 0)
    move(2, 0)
    move(3, 8)
    call(137)  # rt_sigtimedwait
    for signal, target in ((17, "reap"), (2, "exit"), (15, "exit")):
        asm.emit(0x7100001F | signal << 10)  # cmp w0, #signal
        branch(target, 0)  # b.eq
    branch("wait")
    asm.label("reap")
    asm.emit(0x92800000)  # movn x0, #0
    move(1, 0)
    move(2, 1)
    move(3, 0)
    call(260)  # wait4
    asm.emit(0x7100001F)  # cmp w0, #0
    branch("reap", 12)  # b.gt
    branch("wait")
    asm.label("exit")
    move(0, 0)
    call(94)  # exit_group
    for position, target, condition in asm.jumps:
        distance = (asm.labels[target] - position) // 4
        word = 0x14000000 | distance & 0x3FFFFFF if condition < 0 else 0x54000000 | (distance & 0x7FFFF) << 5 | condition
        struct.pack_into("<I", asm.code, position, word)
    return bytes(asm.code)


def pause_program(arch: str | None = None) -> bytes:
    """The static ELF executable for `arch` (Go's name; default this machine's). Raises ValueError for an unknown one."""
    arch = arch or machine_arch()
    if arch not in _MACHINE:
        raise ValueError(f"no pause program for architecture {arch}; load {PAUSE_IMAGE} into containerd instead")
    code = _amd64() if arch == "amd64" else _arm64()
    size = 64 + 56 + len(code)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, _MACHINE[arch], 1, _BASE + 120, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + code


def pause_archive(reference: str = PAUSE_IMAGE, arch: str | None = None) -> bytes:
    """The image as an archive to import."""
    arch = arch or machine_arch()
    return docker_archive([reference], [File("pause", pause_program(arch))], entrypoint=["/pause"], user="65535:65535", arch=arch)
