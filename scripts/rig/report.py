"""The demo's report for people: short, aligned, coloured only on a terminal."""

import os
from pathlib import Path


def render(report: dict, colours: bool) -> str:
    """The whole report as text."""
    paint = _Paint(colours)
    lines = []
    for number, call in enumerate(report["calls"], 1):
        lines += _call(number, call, paint) + [""]
    if report["calls"]:
        lines += _records(report) + [""]
        lines.append(f"reference    the same speech through {report['reference_chain']}, no gateway; rule: PESQ >= reference - 0.2")
        lines.append(f"metrics      {report['metrics_url']} (while it ran)")
    lines.append(f"files        {_short(report['folder'])}/")
    lines += [paint.red(f"wrong        {what}") for what in report["wrong"]]
    took = f" in {report['seconds']:.0f} s" if "seconds" in report else ""
    lines.append(paint.green(f"GOOD: both calls{took}") if report["good"] else paint.red(f"NOT GOOD{took}"))
    return "\n".join(lines)


def _call(number: int, call: dict, paint: "_Paint") -> list[str]:
    verdict = paint.red("not good") if call["wrong"] else paint.green("good")
    lines = [paint.bold(f"call {number}       {call['title']}") + f", {verdict}"]
    lines += _wrapped("set-up", [f"{name.replace('_', ' ')} {at:+.0f} ms" for name, at in call["stages"]])
    first = call["first_audio_ms"]
    lines.append(f"  at Meta    first packet {_whole(first['audio'])} and first voice {_whole(first['voice'])} after the answer")
    if call["media"]:
        lines.append(f"  media      {call['media']}")
    lines.append(f"  {'':13}{'packets':>8}{'lost':>6}{'delay p50':>12}{'p99':>9}{'PESQ':>7}{'reference':>11}")
    for name, way in call["directions"].items():
        delay = way["delay"]
        lines.append(
            f"  {name:13}{way['packets']:>8}{way['lost']:>6}{_ms(delay.get('p50_ms')):>12}{_ms(delay.get('p99_ms')):>9}"
            f"{way['pesq']:>7.2f}{way['pesq_reference']:>11.2f}"
        )
    lines.append(f"  ended      {call['cause'] or '?'} (by the {call['fault'] or '?'}) after {call['seconds']:.1f} s")
    for name, way in call["directions"].items():
        lines.append(f"  {'the ' + name.removeprefix('to ') + ' heard':16}{_short(way['wav'])}")
    return lines


def _records(report: dict) -> list[str]:
    shown = ("id", "direction", "number", "user", "endpoint", "cause", "fault", "meta_duration")
    lines = []
    for call in report["calls"]:
        record = call["record"]
        facts = [f"{key}={record[key]}" for key in shown if record.get(key) is not None]
        seconds = call["record_seconds"]
        facts.append("not answered" if seconds is None else f"answered for {seconds:.1f} s")
        lines.append("record       " + " ".join(facts))
    return lines


def _wrapped(title: str, parts: list[str], width: int = 110) -> list[str]:
    lines, line = [], f"  {title:11}"
    for part in parts or ["nothing recorded"]:
        if len(line) + len(part) > width:
            lines.append(line.rstrip(" |"))
            line = " " * 13
        line += f"{part} | "
    return [*lines, line.rstrip(" |")]


def _ms(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f} ms"


def _whole(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f} ms"


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else str(Path(relative))


class _Paint:
    def __init__(self, colours: bool):
        self._colours = colours

    def _in(self, code: int, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colours else text

    def red(self, text: str) -> str:
        return self._in(31, text)

    def green(self, text: str) -> str:
        return self._in(32, text)

    def bold(self, text: str) -> str:
        return self._in(1, text)
