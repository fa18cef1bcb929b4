"""What is computed: frames, potentials, committee, dynamics and selection. Never imports AiiDA."""

if __name__ != "aiida_argonaut.mlip":
    raise ImportError(
        "import this package as 'aiida_argonaut.mlip', not as '" + __name__ + "': "
        "install the project (pip install -e .) and keep the repository root off sys.path"
    )
