"""The same structure in another guise: found by invariants, confirmed by an isometry, counted and never hidden."""
