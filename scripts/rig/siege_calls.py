"""Calls in masses: a trunk calls phones through the gateway, INVITE to BYE, and nobody sends a packet of sound.

What `scripts/siege calls` runs. Both ends are SIPp. Of each call the gateway opens and closes the record, opens the ports
of both seats, writes both dialogues down and hands out both descriptions, as in every call between desks.
"""

import argparse
import os
import time

from rig import gateway, process, sipp
from rig.gateway import Gateway, Layout
from rig.ports import PortBlock
from rig.programs import Programs, RigError, wait_for

PHONES = 50
# SIPp wants an open file for each.
MOST_AT_ONCE = "15000"
# A pair of ports for each seat, of the calls that are up and of those whose ports rest for a second.
PORTS_PER_CALL = 4
REST_SECONDS, SPARE_SECONDS = 1, 1


def ports_wanted(asked: argparse.Namespace) -> int:
    """Ports of the gateway for calls at this rate."""
    return int(PORTS_PER_CALL * asked.rate * (asked.hold_ms / 1000 + REST_SECONDS + SPARE_SECONDS))


def allow_many(layout: Layout) -> None:
    """Lifts the caps on dialling, which are there against stolen passwords."""
    most = 1_000_000
    caps = f"{{ at_once = {most}, per_minute = {most}, per_day = {most} }}"
    text = f"\n[calls]\nper_phone = {caps}\ntogether = {caps}\n"
    layout.config.write_text(layout.config.read_text() + text)


def run(asked: argparse.Namespace, programs: Programs, ports: PortBlock, running: Gateway) -> dict:
    """Calls at the rate for the time; the CPU is of the gateway's process alone."""
    layout, cores = running.layout, sorted(os.sched_getaffinity(0))
    sipp.hold(running.program.pid, {cores[0]})
    to, desk = layout.registrar, ("127.0.0.1", ports.take())
    _register(programs, desk, to)
    phones = sipp.Sipp(programs, "sipp-phones", "phone_answers_calls.xml", desk, ["-l", MOST_AT_ONCE])
    names = programs.folder / "called.csv"
    names.write_text("SEQUENTIAL\n" + "".join(f"p{at};\n" for at in range(PHONES)))
    first, began = process.snapshot(running.program.pid), time.monotonic()
    many = asked.rate * asked.seconds
    more = ["-inf", str(names.resolve()), "-r", str(asked.rate), "-m", str(many), "-l", MOST_AT_ONCE, "-d", str(asked.hold_ms)]
    own = (gateway.TRUNK_IP, layout.trunk_port)
    callers = sipp.Sipp(programs, "sipp-callers", "trunk_calls_at_a_rate.xml", own, [*more, "-recv_timeout", "20000", to])
    for each in (phones, callers):
        each.hold(set(cores[1:] or cores))
    wait_for(callers.has_ended, "SIPp does not end", asked.seconds + 60)
    lasted, last = time.monotonic() - began, process.snapshot(running.program.pid)
    lost = phones.lost_before_it() + callers.lost_before_it()
    # It writes its last figures a second after the last call.
    time.sleep(1.5)
    told, heard = callers.counted(), phones.counted()
    cpu = last.cpu_seconds - first.cpu_seconds
    report = {
        "asked_a_second": asked.rate,
        "calls": told.done,
        "failed": told.failed,
        "a_second": round(told.done / lasted, 1),
        "at_once_at_most": told.at_once_at_most,
        "retransmissions_by_sipp": told.repeated + heard.repeated,
        "retransmissions_by_the_gateway": told.got_again + heard.got_again,
        "lost_before_the_gateway": sipp.overflown(layout.sip_port),
        "lost_before_sipp": lost,
        "cpu_percent_of_a_core": round(100 * cpu / lasted, 1),
        "cpu_microseconds_each": round(1e6 * cpu / max(1, told.done), 1),
        "rss_kib": last.rss_kib,
    }
    repeated = report["retransmissions_by_sipp"] + report["retransmissions_by_the_gateway"]
    report["kept"] = told.failed == 0 and told.done == many and repeated == 0
    return report


def _register(programs: Programs, desk: tuple[str, int], to: str) -> None:
    """All phones are at one address."""
    users = programs.folder / "users.csv"
    rows = (f"p{at};[authentication username=p{at} password=secret-p{at}];\n" for at in range(PHONES))
    users.write_text("SEQUENTIAL\n" + "".join(rows))
    more = ["-inf", str(users.resolve()), "-r", "100", "-m", str(PHONES), to]
    phones = sipp.Sipp(programs, "sipp-registers", "phones_register.xml", desk, more)
    wait_for(phones.has_ended, "phones do not register", 20)
    if phones.program.exit_code() != 0:
        raise RigError(f"phones do not register\n{phones.program.tail()}")
