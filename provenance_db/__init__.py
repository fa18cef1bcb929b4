"""How to read the record back: queries, cards and provenance rules. The record itself is the AiiDA profile."""

if __name__ != "aiida_argonaut.provenance_db":
    raise ImportError(
        "import this package as 'aiida_argonaut.provenance_db', not as '" + __name__ + "': "
        "install the project (pip install -e .) and keep the repository root off sys.path"
    )
