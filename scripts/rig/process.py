"""What the kernel knows of a process: CPU time, memory, open files."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Snapshot:
    """One moment of a process."""

    cpu_seconds: float
    rss_kib: int
    files: int
    udp_sockets: int
    threads: int


def snapshot(pid: int) -> Snapshot:
    """Reads /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    sockets, files = set(), 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        files += 1
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    return Snapshot(
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        rss_kib=int(status["VmRSS"].split()[0]),
        files=files,
        udp_sockets=sum(1 for inode in _udp_inodes() if inode in sockets),
        threads=int(status["Threads"]),
    )


def _udp_inodes() -> list[str]:
    lines = []
    for name in ("udp", "udp6"):
        path = Path(f"/proc/net/{name}")
        lines += path.read_text().splitlines()[1:] if path.exists() else []
    return [line.split()[9] for line in lines]
