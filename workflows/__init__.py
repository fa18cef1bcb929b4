"""What is done, and what happens when it fails: the AiiDA work chains, calculation jobs and commands."""

if __name__ != "aiida_argonaut.workflows":
    raise ImportError(
        "import this package as 'aiida_argonaut.workflows', not as '" + __name__ + "': "
        "install the project (pip install -e .) and keep the repository root off sys.path"
    )
