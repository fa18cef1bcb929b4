"""Selection: which explored frames are worth a DFT calculation. Every pool frame gets a verdict and a reason.

    unphysical   breaks a sanity rule: distances, volume, predicted force, or a number that is not finite
    duplicate    is, or nearly is, a labelled frame, a random-arm frame or a more uncertain pool frame
    accurate     largest force deviation of its atoms below the trust level `low`
    failed       above the trust level `high`
    candidate    between them

Two arms are filled. The random arm is drawn first, uniformly from the sane frames nobody has moved (step 0 or never in
dynamics): it says what the same money would have bought without a committee. The deviation arm takes candidates one by
one, each the one with the largest deviation x distance to the nearest frame already taken (farthest point, weighted).
The trust levels are those of DP-GEN (Zhang et al., Comput. Phys. Commun. 253, 107206 (2020)); the deviation is a vector
deviation per atom and its maximum decides, so one bad atom among a hundred is seen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .fingerprint import near_duplicates
from .frames import Configuration
from .predictions import PredictedFrame
from .sanity import unphysical
from .units import MINIMUM_DISTANCE_RATIO_DYNAMICS

VERDICTS = ("unphysical", "duplicate", "accurate", "candidate", "failed")
"""What can be said of a pool frame; counts over these add up to the pool."""


class SelectionError(ValueError):
    """A selection that cannot be made: bad arguments."""


@dataclass(frozen=True)
class SelectionSettings:
    """Keys of `argonaut select --config`."""

    low: float | Literal["auto"] = "auto"
    """eV/Å: below this force deviation a frame is accurate; auto is the quantile `low_quantile` of the sane frames."""
    high: float | Literal["auto"] = "auto"
    """eV/Å: above it a frame has failed; auto is the quantile `high_quantile` of the sane frames."""
    low_quantile: float = 0.5
    """Used where low is auto."""
    high_quantile: float = 1.0
    """Used where high is auto; 1 calls no sane frame failed, for what is sane and most uncertain teaches most."""
    random_fraction: float = 0.2
    """Share of the selection that the random arm gets, rounded; at least one frame if above 0 and two are asked for."""
    max_per_trajectory: int = 2
    """Frames taken from one trajectory, both arms together."""
    near_distance: float = 0.05
    """Fingerprint distance (0 to 1.41) below which frames of one composition are duplicates: about 0.03 Å per atom."""
    diversity_weight: float = 1.0
    """Exponent of the distance in deviation x distance^weight; 0 takes the most uncertain frames whatever they are."""
    minimum_distance_ratio: float = MINIMUM_DISTANCE_RATIO_DYNAMICS
    """Closest pair over summed covalent radii (see sanity)."""
    volume_per_atom: tuple[float, float] = (1.5, 250.0)
    """Å^3, [smallest, largest] of a periodic frame."""
    max_force: float = 100.0
    """eV/Å, largest predicted mean force."""

    def __post_init__(self) -> None:
        for name in ("low_quantile", "high_quantile", "random_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected 0 to 1")
        low, high = self.low, self.high
        if low != "auto" and high != "auto" and not 0 <= low <= high:
            raise ValueError(f"low {low} and high {high} eV/Å: expected 0 <= low <= high")
        if low == high == "auto" and self.low_quantile > self.high_quantile:
            raise ValueError(f"low_quantile {self.low_quantile} is above high_quantile {self.high_quantile}")
        if self.max_per_trajectory < 1 or self.diversity_weight < 0 or self.near_distance < 0:
            raise ValueError("max_per_trajectory: expected 1 or more; diversity_weight and near_distance: 0 or more")


@dataclass
class Verdict:
    """What was decided about one pool frame."""

    configuration_id: str
    verdict: str = ""
    """One of VERDICTS."""
    reason: str = ""
    """Why, in words."""
    arm: str = ""
    """'deviation' or 'random' if selected, else ''."""


@dataclass(frozen=True)
class Selection:
    """The candidates and the account of the whole pool."""

    candidates: tuple[PredictedFrame, ...]
    """Random arm first, then deviation arm in the order taken; `info` carries arm and verdict."""
    verdicts: tuple[Verdict, ...]
    """One per pool frame, in the order of the pool."""
    low: float
    """eV/Å, trust level used (NaN without sane frames)."""
    high: float
    """eV/Å, trust level used."""
    asked: int
    """Frames asked for."""
    filled: int
    """Selected frames of the deviation arm that are below the trust level: there were too few candidates."""

    @property
    def counts(self) -> dict[str, int]:
        """Frames per verdict; adds up to the pool."""
        counted = Counter(verdict.verdict for verdict in self.verdicts)
        return {name: counted[name] for name in VERDICTS}

    @property
    def arms(self) -> dict[str, int]:
        """Selected frames per arm."""
        counted = Counter(verdict.arm for verdict in self.verdicts)
        return {name: counted[name] for name in ("deviation", "random")}

    def to_document(self) -> dict[str, Any]:
        """JSON-like account."""
        return {
            "asked": self.asked,
            "reached": len(self.candidates),
            "filled_below_trust_level": self.filled,
            "pool": len(self.verdicts),
            "counts": self.counts,
            "arms": self.arms,
            "thresholds": {
                name: value if math.isfinite(value) else None
                for name, value in (("low", self.low), ("high", self.high))
            },
            "frames": [vars(verdict) for verdict in self.verdicts],
        }


@dataclass
class _Pool:
    """The pool while it is being judged."""

    frames: Sequence[PredictedFrame]
    verdicts: list[Verdict]
    deviation: NDArray[np.float64]
    """(k,) eV/Å, largest of any atom."""
    per_trajectory: Counter[Any] = field(default_factory=Counter)
    chosen: list[int] = field(default_factory=list)

    def open(self) -> list[int]:
        """Frames without a verdict, most uncertain first; the order of the pool plays no part."""
        left = [index for index, verdict in enumerate(self.verdicts) if not verdict.verdict]
        return sorted(left, key=lambda index: (-self.deviation[index], self.verdicts[index].configuration_id))

    def trajectory(self, index: int) -> Any:
        """Key of the trajectory of a frame; a frame that is in none stands for itself."""
        info = self.frames[index].info
        return info.get("trajectory", self.verdicts[index].configuration_id)

    def choose(self, index: int, arm: str, reason: str) -> None:
        """Put a frame into the selection."""
        self.chosen.append(index)
        self.per_trajectory[self.trajectory(index)] += 1
        self.verdicts[index].arm = arm
        self.verdicts[index].reason = reason


def select(
    pool: Sequence[PredictedFrame],
    n: int,
    settings: SelectionSettings,
    seed: int,
    known: Sequence[Configuration] = (),
) -> Selection:
    """At most `n` frames of `pool` to label next, and a verdict on each; `known` are configurations labelled already.

    The same pool, settings and seed give the same selection, in whatever order the pool is. Raises SelectionError for
    n < 1 or an empty pool.
    """
    if n < 1 or not pool:
        raise SelectionError(f"{n} frames of a pool of {len(pool)}: expected at least one of each")
    deviation = np.array([frame.prediction.force_deviation.max() for frame in pool], dtype=np.float64)
    state = _Pool(pool, [Verdict(frame.configuration.configuration_id) for frame in pool], deviation)
    _reject_unphysical(state, settings)
    _reject_exact(state, {configuration.configuration_id for configuration in known})
    random_arm = _draw_random(state, _random_size(n, settings), seed)
    vectors = _reject_near(state, known, random_arm, settings.near_distance)
    low, high = _judge(state, settings)
    for index in random_arm:
        state.choose(index, "random", "drawn at random from the unmoved frames")
    filled = _fill_deviation_arm(state, n - len(random_arm), vectors, settings)
    candidates = [
        replace(pool[index], info={**pool[index].info, "arm": verdict.arm, "verdict": verdict.verdict})
        for index, verdict in ((index, state.verdicts[index]) for index in state.chosen)
    ]
    return Selection(tuple(candidates), tuple(state.verdicts), low, high, n, filled)


def _reject_unphysical(state: _Pool, settings: SelectionSettings) -> None:
    for frame, verdict, deviation in zip(state.frames, state.verdicts, state.deviation, strict=True):
        problem = _problem(frame, float(deviation), settings)
        if problem:
            verdict.verdict, verdict.reason = "unphysical", problem


def _problem(frame: PredictedFrame, deviation: float, settings: SelectionSettings) -> str:
    """What is unphysical about a frame, in words; '' if nothing is."""
    forces = np.linalg.norm(frame.prediction.forces, axis=1)
    if not (math.isfinite(deviation) and np.isfinite(forces).all() and math.isfinite(frame.prediction.energy)):
        return "prediction or deviation is not finite"
    if forces.max() > settings.max_force:
        return f"predicted force {forces.max():.1f} eV/Å above {settings.max_force}"
    return unphysical(frame.configuration, settings.minimum_distance_ratio, settings.volume_per_atom)


def _reject_exact(state: _Pool, known: set[str]) -> None:
    seen: dict[str, int] = {}
    for index in state.open():
        verdict = state.verdicts[index]
        if verdict.configuration_id in known:
            verdict.verdict, verdict.reason = "duplicate", "labelled already"
        elif seen.setdefault(verdict.configuration_id, index) != index:
            verdict.verdict, verdict.reason = "duplicate", f"same as frame {seen[verdict.configuration_id]} of the pool"


def _random_size(n: int, settings: SelectionSettings) -> int:
    size = round(settings.random_fraction * n)
    return max(size, 1) if settings.random_fraction > 0 and n > 1 else size


def _draw_random(state: _Pool, size: int, seed: int) -> list[int]:
    """Indices of the random arm: uniform over sane frames at step 0 or outside dynamics, before any look at them."""
    unmoved = [index for index in state.open() if state.frames[index].info.get("step", 0) == 0]
    unmoved.sort(key=lambda index: state.verdicts[index].configuration_id)
    drawn = np.random.default_rng(seed).permutation(len(unmoved))[:size]
    return [unmoved[index] for index in drawn]


def _reject_near(
    state: _Pool, known: Sequence[Configuration], random_arm: Sequence[int], near: float
) -> dict[int, NDArray[np.float32]]:
    """Fingerprints (d,) of the frames that remain, most uncertain first; the others are marked as duplicates.

    A frame remains if it is in the random arm, or if no labelled, random-arm or more uncertain frame is `near`.
    """
    rows = [*random_arm, *(index for index in state.open() if index not in random_arm)]
    placed = [state.frames[index].configuration for index in rows]
    found, vectors = near_duplicates(placed, known, len(random_arm), near)
    for index, twin in zip(rows, found, strict=True):
        if twin is not None:
            other = "a labelled frame" if twin[1] is None else f"frame {rows[twin[1]]} of the pool"
            state.verdicts[index].verdict = "duplicate"
            state.verdicts[index].reason = f"fingerprint distance {twin[0]:.4f} to {other}"
    by_index = dict(zip(rows, vectors, strict=True))
    return {index: by_index[index] for index in state.open()}


def _judge(state: _Pool, settings: SelectionSettings) -> tuple[float, float]:
    """Trust levels (low, high) in eV/Å; every open frame becomes accurate, candidate or failed."""
    sane = state.open()
    low = _level(state.deviation[sane], settings.low, settings.low_quantile)
    high = _level(state.deviation[sane], settings.high, settings.high_quantile)
    for index in sane:
        deviation, verdict = state.deviation[index], state.verdicts[index]
        if deviation < low:
            verdict.verdict, verdict.reason = "accurate", f"deviation {deviation:.4f} below {low:.4f} eV/Å"
        elif deviation > high:
            verdict.verdict, verdict.reason = "failed", f"deviation {deviation:.4f} above {high:.4f} eV/Å"
        else:
            verdict.verdict, verdict.reason = "candidate", "not taken: the selection is full"
    return low, high


def _level(deviations: NDArray[np.float64], given: float | str, quantile: float) -> float:
    if given != "auto":
        return float(given)
    return float(np.quantile(deviations, quantile)) if len(deviations) else math.nan


def _fill_deviation_arm(
    state: _Pool, size: int, vectors: Mapping[int, NDArray[np.float32]], settings: SelectionSettings
) -> int:
    """Choose up to `size` frames, candidates first, then accurate ones; the number of accurate ones is returned."""
    nearest = {
        index: min((float(np.linalg.norm(vectors[index] - vectors[chosen])) for chosen in state.chosen), default=1.0)
        for index in vectors
    }
    filled = 0
    for verdict in ("candidate", "accurate"):
        waiting = [index for index in vectors if state.verdicts[index].verdict == verdict and index not in state.chosen]
        while waiting and size > 0:
            allowed = [i for i in waiting if state.per_trajectory[state.trajectory(i)] < settings.max_per_trajectory]
            if not allowed:
                break
            best = max(allowed, key=lambda i: state.deviation[i] * nearest[i] ** settings.diversity_weight)
            state.choose(best, "deviation", f"{verdict}, deviation {state.deviation[best]:.4f} eV/Å")
            waiting.remove(best)
            filled += verdict == "accurate"
            size -= 1
            for index in waiting:
                nearest[index] = min(nearest[index], float(np.linalg.norm(vectors[index] - vectors[best])))
        if verdict == "candidate" and size > 0:
            for index in waiting:
                state.verdicts[index].reason = "not taken: enough frames of its trajectory are"
    return filled
