"""The sound yardstick's table for people."""

import os

_HEAD = ("network", "lost", "jitter", "Chromium", "playout", "differs", "relay", "differs", "libopus", "delay ms: C / p / r", "")
_WIDTHS = (12, 6, 8, 10, 9, 15, 7, 15, 9, 22, 0)


def render(report: dict, colours: bool) -> str:
    """The whole report as text."""
    lines = []
    for direction in dict.fromkeys(row["direction"] for row in report["rows"]):
        title = {"to-phone": "Opus from WhatsApp, heard by the phone", "to-meta": "PCMU from the phone, heard by the user"}
        lines += [f"{direction}: {title[direction]} (PESQ, narrow band)", _line(_HEAD)]
        lines += [_row(row, colours) for row in report["rows"] if row["direction"] == direction] + [""]
    if report["rows"]:
        lines += [
            f"{report['speech_seconds']:.0f} s of speech in {len(report['pieces'])} pieces, {report['seeds']} networks of each kind; differs: from "
            "Chromium on the same pieces, +- its standard error",
            "rule: no more than 0.10 below Chromium, and on a clean network 0.05 below libopus alone; relay is heard "
            "behind a phone's buffer of 60 ms",
        ]
        late = [each["p99_ms"] for each in report["punctuality"]]
        if late:
            lines.append(f"packets left at most {max(late):.1f} ms late (p99)")
    lines += [f"doubtful     {what}" for what in report["doubts"]]
    lines += [_paint(31, f"wrong        {what}", colours) for what in report["wrong"]]
    lines.append(f"files        {os.path.relpath(report['folder'])}/")
    took = f" in {report['seconds']:.0f} s" if "seconds" in report else ""
    lines.append(_paint(32, f"GOOD{took}", colours) if report["good"] else _paint(31, f"NOT GOOD{took}", colours))
    return "\n".join(lines)


def _row(row: dict, colours: bool) -> str:
    pesq, delay = row["pesq"], row["delay_ms"]
    cells = [
        row["condition"],
        f"{row['lost_percent']:.1f}%",
        f"{row['jitter_ms']:.0f} ms",
        _score(pesq.get("chromium")),
        _score(pesq.get("playout")),
        _differs(row, "playout"),
        _score(pesq.get("relay")),
        _differs(row, "relay"),
        _score(pesq.get("libopus")),
        " / ".join(f"{delay[name]:.0f}" if name in delay else "-" for name in ("chromium", "playout", "relay")),
        _paint(31, "; ".join(row["wrong"]), colours) if row["wrong"] else "",
    ]
    return _line(cells)


def _line(cells: tuple | list) -> str:
    return "  " + "".join(f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _differs(row: dict, name: str) -> str:
    if name not in row["difference"]:
        return "-"
    return f"{row['difference'][name]:+.2f} +-{row['error'][name]:.2f}"


def _paint(code: int, text: str, colours: bool) -> str:
    return f"\033[{code}m{text}\033[0m" if colours else text
