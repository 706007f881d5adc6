"""Networks that always misbehave in the same way: when each packet of a stream arrives, or that it never does."""

import random
from collections.abc import Callable
from dataclasses import dataclass

# One packet every 20 ms, and a path that takes 60 ms when nothing is wrong with it.
SPACING_MS = 20.0
PATH_MS = 60.0

# When each packet arrives, in milliseconds after the first one was sent; `None`: it is lost.
Arrivals = list[float | None]


@dataclass(frozen=True)
class Condition:
    """A kind of network."""

    name: str
    says: str
    make: Callable[[random.Random, int], Arrivals]
    # Without chance in it, one run tells everything.
    random: bool = True

    def trace(self, seed: int, packets: int) -> Arrivals:
        """The same seed makes the same network, on every machine."""
        arrivals = self.make(random.Random(f"{self.name}/{seed}"), packets)
        # A stream must begin and end: what is judged lies between.
        for at in (0, packets - 1):
            arrivals[at] = _on_time(at) if arrivals[at] is None else arrivals[at]
        return arrivals


def _on_time(at: int) -> float:
    return at * SPACING_MS + PATH_MS


def _clean(_: random.Random, packets: int) -> Arrivals:
    return [_on_time(at) for at in range(packets)]


def _loss(percent: float) -> Callable[[random.Random, int], Arrivals]:
    def make(chance: random.Random, packets: int) -> Arrivals:
        return [None if chance.random() * 100 < percent else _on_time(at) for at in range(packets)]

    return make


def _bursts(length: int, percent: float) -> Callable[[random.Random, int], Arrivals]:
    """Exactly `length` neighbours are lost at a time, `percent` of all packets in the end."""

    def make(chance: random.Random, packets: int) -> Arrivals:
        arrivals, at = _clean(chance, packets), 0
        while at < packets:
            if chance.random() * 100 < percent / length:
                arrivals[at : at + length] = [None] * len(arrivals[at : at + length])
                # Two bursts in a row would be one of twice the length.
                at += length
            at += 1
        return arrivals

    return make


def _queue(deviation_ms: float, loss_percent: float = 0.0) -> Callable[[random.Random, int], Arrivals]:
    """A queue of changing length, as a radio network has: delays wander (standard deviation 40 ms), order is kept."""

    def make(chance: random.Random, packets: int) -> Arrivals:
        kept, arrivals, last, wander = 0.8, [], 0.0, 0.0
        for at in range(packets):
            wander = kept * wander + chance.gauss(0.0, deviation_ms * (1 - kept * kept) ** 0.5)
            last = max(last, _on_time(at) + max(-PATH_MS, min(wander, 3 * deviation_ms)))
            arrivals.append(None if chance.random() * 100 < loss_percent else last)
        return arrivals

    return make


def _spread(most_ms: float) -> Callable[[random.Random, int], Arrivals]:
    """Every packet for itself anywhere within +-40 ms, as `tc netem delay 60ms 40ms` does: many change places."""

    def make(chance: random.Random, packets: int) -> Arrivals:
        return [_on_time(at) + chance.uniform(-most_ms, most_ms) for at in range(packets)]

    return make


CONDITIONS = [
    Condition("clean", "nothing is lost or late", _clean, random=False),
    Condition("loss-3", "3 % lost at random", _loss(3)),
    Condition("loss-5", "5 % lost at random", _loss(5)),
    Condition("loss-10", "10 % lost at random", _loss(10)),
    Condition("bursts-3", "6 % lost, always three in a row", _bursts(3, 6)),
    Condition("jitter-40", "a queue: delay with 40 ms standard deviation, order kept", _queue(40)),
    Condition("spread-40", "each packet +-40 ms for itself, much reordering", _spread(40)),
    Condition("mixed", "the queue of 40 ms, and 5 % lost", _queue(40, 5)),
]


def jitter_ms(arrivals: Arrivals) -> float:
    """The interarrival jitter that a receiver of this trace reports at its end (RFC 3550 §6.4.1)."""
    came = sorted((when, at) for at, when in enumerate(arrivals) if when is not None)
    jitter = 0.0
    for (before, older), (when, newer) in zip(came, came[1:]):
        apart = abs((when - before) - (newer - older) * SPACING_MS)
        jitter += (apart - jitter) / 16
    return jitter


def lost_percent(arrivals: Arrivals) -> float:
    """How much of it never comes."""
    return 100 * sum(when is None for when in arrivals) / len(arrivals)
