"""The gateway itself: its configuration, `cordboard serve`, its records and figures."""

import json
import os
import re
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rig import meta, web
from rig.ports import PortBlock
from rig.programs import Program, Programs, RigError
from rig.prometheus import Scrape

REALM = "cordboard.demo"
PHONE = "1001"
TRUNK = "pbx"
PREFIX = "8"
# A trunk is known by its address, so it needs one of its own.
TRUNK_IP = "127.0.0.2"


@dataclass
class Layout:
    """Where everything listens and lies in one run."""

    folder: Path
    webhook_port: int
    admin_port: int
    sip_port: int
    outside: tuple[int, int]
    inside: tuple[int, int]
    phone_password: str
    trunk_port: int | None = None

    @property
    def registrar(self) -> str:
        """Where phones register."""
        return f"127.0.0.1:{self.sip_port}"

    @property
    def webhook_url(self) -> str:
        """Where Meta's events go."""
        return f"http://127.0.0.1:{self.webhook_port}/webhook"

    @property
    def metrics_url(self) -> str:
        """Where the figures are."""
        return f"http://127.0.0.1:{self.admin_port}/metrics"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "gateway.toml"

    def secret(self, name: str) -> Path:
        """The file of a secret."""
        return self.folder / f"{name}.secret"


def lay_out(folder: Path, ports: PortBlock, calls: int = 16, trunk: bool = False) -> Layout:
    """Chooses ports and writes fresh secrets; room for `calls` WebRTC legs, quarantine included."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = Layout(
        folder=folder,
        webhook_port=ports.take(),
        admin_port=ports.take(),
        sip_port=ports.take(),
        outside=ports.range(calls),
        inside=ports.range(calls * 2),
        phone_password=secrets.token_urlsafe(12),
        trunk_port=ports.take() if trunk else None,
    )
    for name in ("app-secret", "access-token", "verify-token"):
        write_secret(layout.secret(name), secrets.token_hex(16))
    return layout


def write_secret(path: Path, value: str) -> None:
    """Writes a file that only its owner reads."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(value + "\n")


def ha1(cordboard: Path, user: str, realm: str, password: str) -> str:
    """What `cordboard password` makes of a phone's password."""
    command = [str(cordboard), "password", "--algorithm", "md5", "--user", user, "--realm", realm]
    done = subprocess.run(command, input=password + "\n", capture_output=True, text=True, check=False)
    found = re.search(r"\b[0-9a-f]{32}\b", done.stdout)
    if done.returncode != 0 or not found:
        raise RigError(f"cordboard password: status {done.returncode}\n{done.stdout}{done.stderr}")
    return found.group(0)


def write_config(cordboard: Path, layout: Layout, simulator_base: str, ring: list[str] | None = None, media: str = "") -> None:
    """A configuration with two business numbers, one phone and, if laid out, one trunk; `media` adds lines to its section."""
    write_secret(layout.secret(f"phone-{PHONE}"), ha1(cordboard, PHONE, REALM, layout.phone_password))
    trunk = f'''
[[trunk]]
name = "{TRUNK}"
address = "{TRUNK_IP}:{layout.trunk_port}"
sources = ["{TRUNK_IP}"]
# A scripted peer would take an OPTIONS for its call.
probe = {{ enabled = false }}
voip_only = true
''' if layout.trunk_port else ""
    targets = json.dumps(ring or [f"phone:{PHONE}"])
    text = f'''# Written for one run of the rig.
[store]
path = "{layout.folder / 'cordboard.db'}"

[admin]
listen = "127.0.0.1:{layout.admin_port}"

[webhook]
listen = "127.0.0.1:{layout.webhook_port}"
path = "/webhook"
verify_token = {{ file = "{layout.secret('verify-token')}" }}
app_secrets = [{{ file = "{layout.secret('app-secret')}" }}]

[graph]
base = "{simulator_base}"
version = "v25.0"

[sip]
listen = "127.0.0.1:{layout.sip_port}"
advertised = "127.0.0.1:{layout.sip_port}"
domain = "127.0.0.1"
realm = "{REALM}"

[calls]
# A stop at the end of a run waits for nobody.
drain = "0s"

[media]
{media}

[media.outside]
bind = "127.0.0.1"
advertised = ["127.0.0.1"]
ports = "{layout.outside[0]}-{layout.outside[1]}"

[media.inside]
bind = "127.0.0.1"
advertised = ["127.0.0.1"]
ports = "{layout.inside[0]}-{layout.inside[1]}"

[[phone]]
name = "{PHONE}"
display = "Reception"
algorithm = "md5"
ha1 = {{ file = "{layout.secret(f'phone-{PHONE}')}" }}
{trunk}
{_number("main", meta.PHONE_NUMBER_ID, meta.BUSINESS_NUMBER, layout, targets, PREFIX)}
{_number("second", meta.OTHER_NUMBER_ID, meta.OTHER_NUMBER, layout, targets, "7")}'''
    layout.config.write_text(text)


def _number(label: str, number_id: str, digits: str, layout: Layout, ring: str, prefix: str) -> str:
    return f'''[[number]]
label = "{label}"
phone_number_id = "{number_id}"
display_number = "{digits}"
access_token = {{ file = "{layout.secret('access-token')}" }}
ring = {ring}
dial = {{ prefix = "{prefix}", phones = ["{PHONE}"], trunks = {json.dumps([TRUNK] if layout.trunk_port else [])} }}
'''


class Gateway:
    """A running `cordboard serve`."""

    def __init__(self, programs: Programs, cordboard: Path, layout: Layout):
        self.cordboard, self.layout = cordboard, layout
        checked = subprocess.run([str(cordboard), "check", str(layout.config)], capture_output=True, text=True, check=False)
        if checked.returncode != 0:
            raise RigError(f"cordboard check: status {checked.returncode}\n{checked.stdout}{checked.stderr}")
        command = [str(cordboard), "serve", "--config", str(layout.config)]
        self.program: Program = programs.start("gateway", command)
        ready = f"http://127.0.0.1:{layout.admin_port}/readyz"
        self.program.wait_for(lambda: web.is_ok(ready), "the gateway is not ready", 15)

    def scrape(self) -> Scrape:
        """The figures of this moment."""
        return Scrape(web.text(self.layout.metrics_url))

    def records(self) -> list[dict]:
        """All call records, as `cordboard calls --json` tells them, nested JSON opened."""
        command = [str(self.cordboard), "calls", "--config", str(self.layout.config), "--json", "--limit", "100000"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RigError(f"cordboard calls: status {done.returncode}\n{done.stdout}{done.stderr}")
        return [_opened(record) for record in _json_values(done.stdout)]

    def record_of(self, wa_call: str) -> dict | None:
        """The record of one of Meta's calls."""
        return next((record for record in self.records() if record.get("wa_call") == wa_call), None)


def _json_values(text: str) -> list[dict]:
    try:
        told = json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return told.get("calls", [told]) if isinstance(told, dict) else told


def _opened(record: dict) -> dict:
    opened = dict(record)
    for name in ("stages", "quality"):
        packed = opened.pop(f"{name}_json", opened.get(name))
        opened[name] = json.loads(packed) if isinstance(packed, str) else packed or {}
    return opened
