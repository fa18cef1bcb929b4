"""What we ask of DFT: protocols, k points and pseudopotential recipes as plain data. Imports no AiiDA and no torch."""

if __name__ != "aiida_argonaut.dft_inputs":
    raise ImportError(
        "import this package as 'aiida_argonaut.dft_inputs', not as '" + __name__ + "': "
        "install the project (pip install -e .) and keep the repository root off sys.path"
    )
