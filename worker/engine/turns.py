"""Whose turn it is: start-time fair queueing (Goyal, Vin and Cheng, 1996) over a handful of flows.

Each flow has a start tag that grows by what it gets, divided by its share; the lowest goes next. A flow that comes
begins where the others are, so being away saves up nothing, beyond a stated credit. Knows neither rows nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, final

Flow = TypeVar("Flow")


@final
class Turns(Generic[Flow]):
    """Turns of flows that come and go."""

    def __init__(
        self, *, share: Callable[[Flow], float] = lambda _: 1.0, credit: Callable[[Flow], float] = lambda _: 0.0
    ) -> None:
        """Know each flow's part, in terms of the others', and how much one that comes gets before all others.

        Both are asked whenever they are needed, and must not change.
        """
        self._share = share
        self._credit = credit
        self._starts: dict[Flow, float] = {}
        self._present: set[Flow] = set()
        self._clock = 0.0

    def next(self, flows: Sequence[Flow]) -> Flow:
        """Choose one of the flows that have something to do, at least one; the first of equals."""
        for flow in flows:
            if flow not in self._present:
                floor = self._clock - self._credit(flow) / self._share(flow)
                self._starts[flow] = max(self._starts.get(flow, floor), floor)
        self._present = set(flows)
        chosen = min(flows, key=lambda flow: self._starts[flow])
        self._clock = max(self._clock, self._starts[chosen])
        for flow in [flow for flow in self._starts if flow not in self._present]:
            if self._starts[flow] <= self._clock - self._credit(flow) / self._share(flow):
                del self._starts[flow]  # it says nothing any more
        return chosen

    def charge(self, flow: Flow, amount: float) -> None:
        """Note what a flow that `next` chose got; nothing if it is forgotten by now."""
        if flow in self._starts:
            self._starts[flow] += amount / self._share(flow)

    def forget(self) -> None:
        """Begin anew: nobody owes anybody anything, and who comes has its credit."""
        self._starts.clear()
        self._present.clear()
        self._clock = 0.0
