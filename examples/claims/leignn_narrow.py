"""LEIGNN's published form at a width that one core can train in minutes: for `--import leignn_narrow`.

As published: equations, 4 layers, 128 Gaussians, SiLU / 0.6, direct forces, the global vector, 20 nearest neighbours.
Ours: 64 channels where the paper has 512, embeddings of 18 elements instead of 83. The cutoff (6 Å) is the preset's.
That makes 235,781 weights; the `campaign` preset has 231,008, the full width 9,374,213.
"""

from __future__ import annotations

from dataclasses import replace

from aiida_argonaut.mlip.models.leignn import EXCEPTIONS, PUBLISHED, direct, energy, init
from aiida_argonaut.mlip.potential import Architecture, register

CONFIG = replace(PUBLISHED, scalar_width=64, vector_width=64, n_elements=18)
ARCHITECTURE = register(
    Architecture(
        "leignn_narrow",
        {"published": CONFIG},
        init,
        energy,
        vectors_only=True,
        direct=direct,
        exceptions={"published": EXCEPTIONS},
    )
)
