"""aiida-argonaut: active learning of interatomic potentials for the elements H to Ar."""

__version__ = "0.1.0"
