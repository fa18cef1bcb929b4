"""Settings of exploration, kept free of torch so that a campaign file can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .frames import Configuration
from .units import MINIMUM_DISTANCE_RATIO_DYNAMICS


@dataclass(frozen=True)
class ExplorationSettings:
    """Keys of `argonaut explore --config`."""

    steps: int = 500
    """Steps per trajectory."""
    temperature_K: float | tuple[float, float] = (300.0, 1500.0)
    """K of the heat bath: one value, or [lowest, highest] from which each trajectory draws its own (uniform)."""
    timestep_fs: float | Literal["auto"] = "auto"
    """fs; auto is 0.5 for structures with hydrogen and 1.0 for the others."""
    friction_per_fs: float = 0.05
    """1/fs. Random starts release much energy: 0.05 (20 fs) takes it up before it breaks everything apart."""
    sample_interval: int = 25
    """A frame is kept every so many steps, beside the first and the last one."""
    stop_deviation: float | Literal["auto"] = "auto"
    """eV/Å: largest force deviation of an atom at which a trajectory is stopped. auto is `stop_deviation_factor` times
    the median over all starts, so that a young committee, uncertain everywhere, still gets somewhere."""
    stop_deviation_factor: float = 3.0
    """Used where stop_deviation is auto."""
    min_steps: int = 50
    """Steps before a trajectory may be stopped as uncertain; the start is a frame of its own anyway."""
    minimum_distance_ratio: float = MINIMUM_DISTANCE_RATIO_DYNAMICS
    """Closest pair over summed covalent radii (see sanity)."""
    max_force: float = 100.0
    """eV/Å."""
    max_temperature_K: float = 20000.0
    """K, kinetic. Small cells fluctuate: two atoms reach six times their temperature once in a few thousand steps."""
    skin: float = 0.5
    """Å by which the neighbour list reaches beyond the cutoff."""
    batch_atoms: int = 1024
    """Atoms moved at once."""

    def __post_init__(self) -> None:
        low, high = self.temperature_range
        if not 0 < low <= high:
            raise ValueError(f"temperature_K {self.temperature_K}: expected above 0 K, and lowest <= highest")
        least = {"steps": 0, "min_steps": 0, "sample_interval": 1, "batch_atoms": 1}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} {getattr(self, name)}: expected {lowest} or more")
        positive = ("timestep_fs", "friction_per_fs", "stop_deviation", "stop_deviation_factor", "max_force")
        for name in (*positive, "max_temperature_K", "skin", "minimum_distance_ratio"):
            value = getattr(self, name)
            if value != "auto" and not value > 0:
                raise ValueError(f"{name} {value}: expected a number above 0")

    @property
    def temperature_range(self) -> tuple[float, float]:
        """(lowest, highest) K."""
        if isinstance(self.temperature_K, tuple):
            return self.temperature_K
        return self.temperature_K, self.temperature_K

    def timestep_of(self, configuration: Configuration) -> float:
        """fs."""
        if self.timestep_fs == "auto":
            return 0.5 if bool((configuration.numbers == 1).any()) else 1.0
        return float(self.timestep_fs)
