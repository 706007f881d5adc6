"""Ports that nobody else takes: blocks below the system's ephemeral range, leased by a listener."""

import random
import socket
from pathlib import Path

CHUNK = 256
LOWEST = 10240
LOOPBACK = "127.0.0.1"


class PortBlock:
    """Some chunks of 256 neighbouring ports on loopback, ours until `release`.

    The lease is a TCP listener on the last port of each chunk: whoever follows the same rule (the Rust tests do)
    never gets the same chunk, and the kernel hands out nothing below its ephemeral range by itself.
    """

    def __init__(self, chunks: int = 1):
        self.size = chunks * CHUNK
        self._leases: list[socket.socket] = []
        self.base = self._lease(chunks)
        self._next = self.base

    def take(self, count: int = 1, even: bool = False) -> int:
        """The first of `count` neighbouring ports that were not given out yet."""
        first = self._next + (self._next % 2 if even else 0)
        if first + count > self.base + self.size - 1:
            raise RuntimeError(f"block of {self.size} ports is used up")
        self._next = first + count
        return first

    def range(self, count: int) -> tuple[int, int]:
        """First and last of `count` ports for media, the first one even."""
        first = self.take(count, even=True)
        return first, first + count - 1

    def release(self) -> None:
        """Gives the block back."""
        for lease in self._leases:
            lease.close()
        self._leases.clear()

    def _lease(self, chunks: int) -> int:
        bases = list(range(LOWEST, _ephemeral_start() - chunks * CHUNK, CHUNK))
        random.shuffle(bases)
        for base in bases:
            leases = [_listener(base + chunk * CHUNK + CHUNK - 1) for chunk in range(chunks)]
            if all(leases) and _all_free(range(base, base + chunks * CHUNK - 1)):
                self._leases = [lease for lease in leases if lease]
                return base
            for lease in leases:
                if lease:
                    lease.close()
        raise RuntimeError(f"no free block of {chunks * CHUNK} ports")


def _ephemeral_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32768


def _listener(port: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(1)
        return listener
    except OSError:
        listener.close()
        return None


def _all_free(ports: range) -> bool:
    for port in ports:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            if kind == socket.SOCK_STREAM and port % CHUNK == CHUNK - 1:
                continue
            with socket.socket(socket.AF_INET, kind) as probe:
                try:
                    probe.bind((LOOPBACK, port))
                except OSError:
                    return False
    return True
