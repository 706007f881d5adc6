"""Programs that the rig starts, each with its own log, and stops again by process id."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_LIBC = ctypes.CDLL(None)


class RigError(Exception):
    """Something that the rig needed did not happen; the text is for a person."""


class Program:
    """One running program; stdout and stderr go into files of its folder."""

    def __init__(self, name: str, command: list[str], folder: Path, env: dict[str, str] | None = None):
        self.name = name
        self.stdout_path = folder / f"{name}.out"
        self.log_path = folder / f"{name}.log"
        with self.stdout_path.open("wb") as out, self.log_path.open("wb") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def exit_code(self) -> int | None:
        """The exit status; `None` while it runs."""
        return self._child.poll()

    def first_line(self, seconds: float = 20.0) -> str:
        """The first whole line on stdout, waited for."""

        def line() -> str | None:
            text = self.stdout_path.read_text(errors="replace")
            return text.split("\n", 1)[0] if "\n" in text else None

        return self.wait_for(line, f"{self.name} says nothing", seconds)

    def wait_for(self, condition: Callable[[], T | None], otherwise: str, seconds: float) -> T:
        """Waits for a condition as long as the program lives."""

        def alive_and() -> T | None:
            found = condition()
            if not found and self.exit_code() is not None:
                raise RigError(f"{self.name} ended with status {self.exit_code()}\n{self.tail()}")
            return found

        try:
            return wait_for(alive_and, otherwise, seconds)
        except RigError as error:
            raise RigError(f"{error}\n{self.tail()}") from None

    def tail(self, lines: int = 25) -> str:
        """The last lines of what it wrote."""
        text = ""
        for path in (self.stdout_path, self.log_path):
            kept = path.read_text(errors="replace").replace("\r", "\n").splitlines()[-lines:]
            if kept:
                text += f"--- {path}\n" + "\n".join(kept) + "\n"
        return text

    def stop(self, seconds: float = 8.0, with_signal: int = signal.SIGTERM) -> int:
        """Ends the program, harder when it does not listen; returns its exit status."""
        if self._child.poll() is None:
            self._child.send_signal(with_signal)
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait(5)
        return self._child.returncode


class Programs:
    """All programs of a run: a context manager that ends them in reverse order, whatever happens."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._running: list[Program] = []

    def __enter__(self) -> "Programs":
        # A SIGTERM must run the clean-up as Ctrl-C does.
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, _interrupted)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Program:
        """Starts a program."""
        program = Program(name, command, self.folder, env)
        self._running.append(program)
        return program

    def stop_all(self) -> None:
        """Ends all that still run, the last started first."""
        while self._running:
            self._running.pop().stop()


def wait_for(condition: Callable[[], T | None], otherwise: str, seconds: float = 20.0) -> T:
    """Polls a level until it holds; `RigError` with `otherwise` after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise RigError(f"{otherwise} (waited {seconds:.0f} s)")
        time.sleep(0.02)


def _die_with_parent() -> None:
    # If the rig itself is killed hard, the kernel ends what it started: prctl(PR_SET_PDEATHSIG, SIGTERM).
    _LIBC.prctl(1, signal.SIGTERM)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
