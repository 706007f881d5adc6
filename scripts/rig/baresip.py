"""A real desk phone: baresip, headless, driven over its control socket."""

import json
import socket
from dataclasses import dataclass, field
from pathlib import Path

from rig.programs import Program, Programs, RigError, wait_for

MODULES = ["g711", "aufile", "aubridge", "sndfile"]
APPLICATIONS = ["menu", "ctrl_tcp", "rtcpsummary"]


@dataclass
class PhoneSettings:
    """What a phone is told; `registrar` is `host:port`."""

    name: str
    password: str
    registrar: str
    sip_port: int
    control_port: int
    rtp_ports: tuple[int, int]
    speaks: Path
    codec: str = "PCMU"
    answer: str = "auto"
    register_seconds: int = 60
    extra: dict[str, str] = field(default_factory=dict)


class Phone:
    """A running baresip."""

    def __init__(self, programs: Programs, settings: PhoneSettings):
        self.settings = settings
        self.folder = programs.folder / f"phone-{settings.name}"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config").write_text(_config(settings, self.folder))
        (self.folder / "accounts").write_text(_account(settings))
        self.events: list[dict] = []
        self._buffer = b""
        self._program = programs.start(f"phone-{settings.name}", ["baresip", "-f", str(self.folder)])
        self._control = self._connect()

    @property
    def program(self) -> Program:
        """The process."""
        return self._program

    def command(self, command: str, params: str = "") -> None:
        """Gives an order: `dial`, `hangup`, `accept`, `hold`, `resume`, `sndcode`, `ausrc` …"""
        body = {"command": command, "params": params} if params else {"command": command}
        text = json.dumps(body).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))

    def speak(self, wav: Path) -> None:
        """The file that the microphone plays from the next call on."""
        self.command("ausrc", f"aufile,{wav}")

    def seen(self, kind: str, since: int = 0) -> dict | None:
        """The first event of a kind after the first `since` events."""
        self._read()
        return next((event for event in self.events[since:] if event.get("type") == kind), None)

    def wait_event(self, kind: str, since: int = 0, seconds: float = 20.0) -> dict:
        """Waits for an event such as `REGISTER_OK`, `CALL_ESTABLISHED`, `CALL_CLOSED`."""
        what = f"phone {self.settings.name}: no {kind}"
        try:
            return self._program.wait_for(lambda: self.seen(kind, since), what, seconds)
        except RigError as error:
            kinds = ", ".join(event.get("type", "?") for event in self.events[since:]) or "none"
            raise RigError(f"{error}\nevents seen: {kinds}") from None

    def rtcp(self, since: int = 0) -> dict | None:
        """The last RTCP figures that the phone told."""
        self._read()
        told = [event["rtcp_stats"] for event in self.events[since:] if "rtcp_stats" in event]
        return told[-1] if told else None

    def summary(self) -> dict[str, str]:
        """What the phone itself counted in its last call: `PR` received, `PS` sent, `PL` lost (tx, rx) …"""
        text = self._program.stdout_path.read_text(errors="replace")
        text += self._program.log_path.read_text(errors="replace")
        lines = [line for line in text.replace("\r", "\n").splitlines() if line.startswith("EX=BareSip;CS=")]
        pairs = [pair.partition("=") for pair in lines[-1].split(";")] if lines else []
        return {key: value for key, _, value in pairs if key}

    def heard(self, before: set[Path]) -> Path:
        """The recording of what was heard in the call since `before = recordings()`."""
        fresh = sorted(path for path in self.recordings() - before if path.name.endswith("-dec.wav"))
        if not fresh:
            raise RigError(f"phone {self.settings.name} recorded nothing\n{self._program.tail()}")
        return fresh[-1]

    def recordings(self) -> set[Path]:
        """All recordings so far."""
        return set(self.folder.glob("dump-*.wav"))

    def _connect(self) -> socket.socket:
        def connect() -> socket.socket | None:
            try:
                return socket.create_connection(("127.0.0.1", self.settings.control_port), 1)
            except OSError:
                return None

        control = self._program.wait_for(connect, "baresip does not open its control port", 10)
        control.setblocking(False)
        return control

    def _read(self) -> None:
        try:
            while chunk := self._control.recv(65536):
                self._buffer += chunk
        except BlockingIOError:
            pass
        while b":" in self._buffer:
            length_text, rest = self._buffer.split(b":", 1)
            length = int(length_text)
            if len(rest) < length + 1:
                return
            self._buffer = rest[length + 1 :]
            message = json.loads(rest[:length].decode(errors="replace"))
            if message.get("event"):
                self.events.append(message)


def wait_registered(phone: Phone) -> None:
    """Waits until the registrar said yes."""

    def verdict() -> bool:
        if failed := phone.seen("REGISTER_FAIL"):
            raise RigError(f"phone {phone.settings.name} was refused: {failed.get('param')}")
        # The registrar may be faster than our control connection, which then misses the event.
        return phone.seen("REGISTER_OK") is not None or "} 200 OK (" in phone.program.tail(200)

    wait_for(verdict, f"phone {phone.settings.name} is not registered\n{phone.program.tail()}", 15)


def _config(settings: PhoneSettings, folder: Path) -> str:
    lines = [
        "poll_method epoll",
        f"sip_listen 127.0.0.1:{settings.sip_port}",
        "net_interface 127.0.0.1",
        f"audio_source aufile,{settings.speaks}",
        "audio_player aubridge,null",
        "audio_alert aubridge,null",
        "rtp_stats no",
        f"rtp_ports {settings.rtp_ports[0]}-{settings.rtp_ports[1]}",
        "module_path /usr/lib/baresip/modules",
        *[f"module {name}.so" for name in MODULES],
        "module_tmp account.so",
        *[f"module_app {name}.so" for name in APPLICATIONS],
        f"ctrl_tcp_listen 127.0.0.1:{settings.control_port}",
        f"snd_path {folder}",
        *[f"{key} {value}" for key, value in settings.extra.items()],
    ]
    return "\n".join(lines) + "\n"


def _account(settings: PhoneSettings) -> str:
    return (
        f"<sip:{settings.name}@{settings.registrar};transport=udp>;auth_user={settings.name}"
        f";auth_pass={settings.password};regint={settings.register_seconds}"
        f";audio_codecs={settings.codec}/8000/1;answermode={settings.answer}\n"
    )
