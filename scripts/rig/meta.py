"""The stand-in for Meta: `cordboard simulate` and its control API."""

import json
from pathlib import Path

from rig import web
from rig.programs import Program, Programs, wait_for

PHONE_NUMBER_ID = "108911223344556"
BUSINESS_NUMBER = "493055500010"
OTHER_NUMBER_ID = "108911223344557"
OTHER_NUMBER = "493055500011"


class Simulator:
    """A running simulator."""

    def __init__(self, programs: Programs, cordboard: Path, webhook: str, app_secret: Path, access_token: Path):
        command = [str(cordboard), "simulate", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"]
        command += ["--webhook", webhook, "--app-secret-file", str(app_secret)]
        command += ["--access-token-file", str(access_token)]
        command += ["--number", f"{PHONE_NUMBER_ID}={BUSINESS_NUMBER}", "--number", f"{OTHER_NUMBER_ID}={OTHER_NUMBER}"]
        self.program: Program = programs.start("simulator", command)
        ready = json.loads(self.program.first_line())
        self.base = f"http://{ready['http']}"
        self.media = ready["media"]

    def place_call(self, **call: object) -> str:
        """A user calls the business; returns the call's id."""
        return web.ask("POST", f"{self.base}/sim/calls", {"number": PHONE_NUMBER_ID, **call})["call"]

    def set_user(self, user: str, **behaviour: object) -> None:
        """How a user takes calls."""
        web.ask("POST", f"{self.base}/sim/users/{user}", behaviour)

    def set_faults(self, **faults: object) -> None:
        """Misbehaviour of Meta from now on."""
        web.ask("POST", f"{self.base}/sim/faults", faults)

    def do(self, call: str, what: str, **body: object) -> None:
        """`hangup`, `reject`, `answer`, `speak`, `digits`."""
        web.ask("POST", f"{self.base}/sim/calls/{call}/{what}", body)

    def call(self, call: str) -> dict:
        """What the simulator saw of a call."""
        return web.ask("GET", f"{self.base}/sim/calls/{call}")

    def calls(self) -> list[dict]:
        """All calls so far."""
        told = web.ask("GET", f"{self.base}/sim/calls")
        return told["calls"] if isinstance(told, dict) else told

    def violations(self) -> list:
        """Every rule of Meta's that the gateway broke."""
        told = web.ask("GET", f"{self.base}/sim/violations")
        return told.get("violations", []) if isinstance(told, dict) else told

    def wait_new_call(self, known: set[str], seconds: float = 15.0) -> str:
        """Waits for a call that the business places."""

        def fresh() -> str | None:
            ids = (call_id(call) for call in self.calls())
            return next((call for call in ids if call not in known), None)

        return wait_for(fresh, f"no call reached the simulator\n{self.program.tail()}", seconds)

    def wait_packets(self, call: str, at_least: int, seconds: float) -> dict:
        """Waits until the user has received and sent so many RTP packets."""

        def enough() -> dict | None:
            told = self.call(call)
            rtp = told.get("rtp") or {}
            return told if min(rtp.get("received", 0), rtp.get("sent", 0)) >= at_least else None

        return wait_for(enough, f"the user got no {at_least} packets: {self.call(call)}", seconds)

    def wait_ended(self, call: str, seconds: float = 15.0) -> dict:
        """Waits until the call is over at Meta."""

        def over() -> dict | None:
            told = self.call(call)
            return told if is_over(told) else None

        return wait_for(over, f"the call does not end at the simulator: {self.call(call)}", seconds)


def is_over(told: dict) -> bool:
    """Whether Meta's side of a call is finished, its recording included."""
    return told.get("state") == "ended"


def call_id(told: dict | str) -> str:
    """The id of a listed call."""
    return told if isinstance(told, str) else told.get("call") or told["id"]
