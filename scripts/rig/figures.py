"""Figures out of records and scrapes: stages, durations, transit times; liberal in what they are called."""

from datetime import datetime

from rig.prometheus import Scrape, quantile

TO_PHONE, TO_USER = "to phone", "to user"


def millis(moment: object) -> float | None:
    """A time stamp of a record as Unix milliseconds: a number of them, or RFC 3339."""
    if isinstance(moment, (int, float)):
        return float(moment)
    if isinstance(moment, str):
        return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() * 1000
    return None


def answered_seconds(record: dict) -> float | None:
    """How long a call was up by its record."""
    start, end = millis(record.get("answered")), millis(record.get("ended"))
    return (end - start) / 1000 if start is not None and end is not None else None


def stages(record: dict) -> list[tuple[str, float]]:
    """Set-up stages in the order in which they happened, milliseconds after the call was opened."""
    told = record.get("stages") or {}
    return sorted(((name, float(at)) for name, at in told.items() if isinstance(at, (int, float))), key=lambda it: it[1])


def transit_ms(now: Scrape, before: Scrape | None) -> dict[str, dict[str, float | None]]:
    """Added delay per direction, p50 and p99 in milliseconds, between two scrapes."""
    found: dict[str, dict[str, float | None]] = {}
    for name in now.histograms("transit"):
        factor = 1000.0 if name.endswith("_seconds") else 1.0
        labels = {s.labels for s in now.samples if s.name == f"{name}_bucket"}
        for key, value in {pair for each in labels for pair in each if pair[0] != "le"}:
            direction = direction_of(key, value)
            buckets = now.buckets(name, before, **{key: value})
            if direction and buckets and buckets[-1][1] > 0:
                p50, p99 = quantile(buckets, 0.5), quantile(buckets, 0.99)
                found[direction] = {
                    "p50_ms": None if p50 is None else round(p50 * factor, 3),
                    "p99_ms": None if p99 is None else round(p99 * factor, 3),
                    "packets": int(buckets[-1][1]),
                }
    return found


def direction_of(label: str, value: str) -> str | None:
    """Which way a label points: the leg that sent the packet, or else where the packet goes."""
    towards = {"phone": TO_PHONE, "whatsapp": TO_USER, "meta": TO_USER, "user": TO_USER}.get(value)
    if label == "leg" and towards:
        return TO_USER if towards == TO_PHONE else TO_PHONE
    return towards


def percentile(values: list[float], q: float) -> float | None:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(q * len(ordered) + 0.5) - 1))] if ordered else None
