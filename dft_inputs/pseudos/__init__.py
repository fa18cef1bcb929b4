"""A PBE PAW family for H-Ar made on the spot: generation numbers, `ld1.x`, and the checks of what comes out."""
