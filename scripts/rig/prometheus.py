"""Reading a scrape: samples by name and labels, and quantiles of histograms."""

import re
from dataclasses import dataclass

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    """One line of a scrape."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Scrape:
    """All samples of one moment."""

    def __init__(self, text: str):
        self.kinds: dict[str, str] = {}
        self.samples: list[Sample] = []
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(maxsplit=3)
                self.kinds[name] = kind
            elif match := _SAMPLE.match(line):
                labels = tuple(sorted(_LABEL.findall(match.group(2) or "")))
                self.samples.append(Sample(match.group(1), labels, float(match.group(3))))

    def total(self, name: str, **labels: str) -> float:
        """The sum over all label sets that agree with `labels`."""
        return sum(sample.value for sample in self.samples if sample.name == name and _agrees(sample, labels))

    def gauges(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """All gauges: what must come back to where it was."""
        return {(s.name, s.labels): s.value for s in self.samples if self.kinds.get(s.name) == "gauge"}

    def histograms(self, word: str) -> list[str]:
        """The names of histograms with a word in them."""
        return sorted(name for name, kind in self.kinds.items() if kind == "histogram" and word in name)

    def buckets(self, name: str, since: "Scrape | None" = None, **labels: str) -> list[tuple[float, float]]:
        """Upper bounds and cumulative counts, less those of an earlier scrape."""
        counts: dict[float, float] = {}
        for scrape, sign in ((self, 1), (since, -1)):
            for sample in scrape.samples if scrape else ():
                if sample.name == f"{name}_bucket" and _agrees(sample, labels):
                    bound = float(dict(sample.labels)["le"])
                    counts[bound] = counts.get(bound, 0) + sign * sample.value
        return sorted(counts.items())


def quantile(buckets: list[tuple[float, float]], q: float) -> float | None:
    """The value under which a share `q` lies, by linear interpolation; `None` without samples."""
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted, low, below = buckets[-1][1] * q, 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            if bound == float("inf"):
                return low
            return low + (bound - low) * ((wanted - below) / (count - below) if count > below else 1.0)
        low, below = bound, count
    return low


def _agrees(sample: Sample, labels: dict[str, str]) -> bool:
    own = dict(sample.labels)
    return all(own.get(key) == value for key, value in labels.items())
