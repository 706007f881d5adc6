"""SIPp: how it is started with figures, and what it counted."""

import csv
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from rig.programs import Program, Programs

SCENARIOS = Path(__file__).resolve().parents[2] / "tests/interop/sipp"
# So that a moment in which a process does not run loses nothing before it.
BUFFER = "8388608"


@dataclass
class Counted:
    """What a SIPp has counted."""

    done: int
    failed: int
    # What it had to say again, and what it was told again.
    repeated: int
    got_again: int
    at_once_at_most: int


class Sipp:
    """One SIPp that writes its figures every second."""

    def __init__(self, programs: Programs, name: str, scenario: str, own: tuple[str, int], more: list[str]):
        self._figures, self._port, self._lost = programs.folder / f"{name}.csv", own[1], 0
        shutil.copy(SCENARIOS / scenario, programs.folder / f"{name}.xml")
        # It writes some of its figures where it is.
        command = ["env", "--chdir", str(programs.folder), "sipp", "-sf", f"{name}.xml", "-i", own[0], "-p", str(own[1]), "-nostdin", "-buff_size", BUFFER]
        command += ["-trace_stat", "-trace_counts", "-fd", "1", "-stf", self._figures.name, *more]
        self.program: Program = programs.start(name, command)
        self._counts = programs.folder / f"{name}_{self.program.pid}_counts.csv"

    def hold(self, cores: set[int]) -> None:
        """Keeps it on these processors."""
        hold(self.program.pid, cores)

    def has_ended(self) -> bool:
        """Whether it has done what it was to do."""
        # Once it has ended its socket cannot be asked any more.
        self.lost_before_it()
        return self.program.exit_code() is not None

    def lost_before_it(self) -> int:
        """Datagrams that it was too slow for."""
        self._lost = max(self._lost, overflown(self._port))
        return self._lost

    def counted(self) -> Counted:
        """The newest figures."""
        rows, messages = _rows(self._figures), _rows(self._counts)[-1]
        told = rows[-1]
        return Counted(
            done=int(told["SuccessfulCall(C)"]),
            failed=int(told["FailedCall(C)"]),
            repeated=_repeated(messages, "_Sent"),
            got_again=_repeated(messages, "_Recv"),
            at_once_at_most=max(int(row["CurrentCall"]) for row in rows),
        )


def _rows(path: Path) -> list[dict]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter=";"))


def _repeated(messages: dict, way: str) -> int:
    """Of each message of the scenario stand beside each other how often it went the way, and how often again."""
    names = [name.removesuffix(way) for name in messages if name and name.endswith(way)]
    return sum(int(messages[f"{name}_Retrans"] or 0) for name in names)


def hold(pid: int, cores: set[int]) -> None:
    """Keeps all threads of a process on some processors."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def overflown(port: int) -> int:
    """Datagrams that found no room in the receive buffer of a UDP port."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return sum(int(line.split()[-1]) for line in lines if line.split()[1].endswith(f":{port:04X}"))
