"""Recipes that are wrong, impossible or without measure: refused at once by every door, and nothing is written.

What is refused by `argonaut generate` is refused in the same words where a campaign file names the recipe.
"""

import pytest

SOURCES = ("packing", "prototypes", "spacegroups", "clusters", "fluids", "slabs", "dimers")
HUGE = 10**400


def case(words, text, *said):
    """A recipe file with this content, and what the message must hold beside its name."""
    return pytest.param(text, said, id=words)


def source(name, keys, *said):
    """A recipe of one source with these keys."""
    return case(f"{name}: {keys[:50]}", f"source: {name}\n{keys}\n", *said)


WHOLE = [
    case("empty", "", "no 'source:'"),
    case("a list", "- source: packing", "holds a list"),
    case("no source", "elements: [H]", "no 'source:'"),
    case("a source that is a list", "source: [packing]", "source", "packing"),
    case("a source that is null", "source:", "None", "packing"),
    case("a key that is a number", "source: packing\n1: 2", "unknown key 1"),
    case("sources that are a mapping", "sources: {source: packing}", "expected a list of sources"),
    case("sources beside a source", "source: packing\nsources: []", "unknown key 'source'"),
    case("a source that is text", "sources: [packing]", r"sources\[0\]", "no 'source:'"),
    case("a source that is nothing", "sources: [null]", r"sources\[0\]"),
    case("the second source is wrong", "sources: [{source: packing}, {source: parking}]", r"sources\[1\]", "'parking'"),
    case("a weight of zero", "sources: [{source: packing, weight: 0}]", "weight 0"),
    case("a weight of half", "sources: [{source: packing, weight: 0.5}]", "weight 0.5"),
    case("a weight of NaN", "sources: [{source: packing, weight: .nan}]", "weight nan"),
    case("a weight of true", "sources: [{source: packing, weight: true}]", "weight True"),
    case("a weight without measure", f"sources: [{{source: packing, weight: {10**12}}}]", "1e.12", "1000 at most"),
    case("a weight of 400 digits", f"source: packing\nweight: {HUGE}", "1000 at most"),
    case("weight and count", "sources: [{source: packing, weight: 1, count: 1}]", "one of them"),
    case("a count of zero", "source: packing\ncount: 0", "count 0"),
    case("a count of text", "source: packing\ncount: many", "count 'many'"),
    case("a thousand sources", "sources:\n" + "- {source: packing, count: 1}\n" * 1000, "1000 sources", "255"),
    case("nested ten thousand deep", "source: packing\nelements: " + "[" * 10000, "nested too deeply"),
    case("binary rubbish", "\x00\x01", "not valid YAML"),
]
ELEMENTS = [
    source(name, f"{'prototype: {' if name == 'slabs' else ''}elements: {given}{'}' if name == 'slabs' else ''}", said)
    for name in SOURCES
    for given, said in (("[H, Fe]", "Fe"), ("[]", "elements"), ("[H, H]", "twice"), ("H", "elements"), ("[1]", "text"))
]
KEYS = [
    *(source(name, "colour: red", "unknown key 'colour'") for name in SOURCES),
    *(
        source(name, f"maximum_attempts: {value}", "maximum_attempts", said)
        for name in ("packing", "spacegroups", "clusters", "fluids", "slabs")
        for value, said in ((0, "above 0"), (10**12, "10000"), (HUGE, "10000"), (".inf", "whole"), ("'3'", "whole"))
    ),
    *(
        source(name, f"atoms: {pair}", "atoms", said)
        for name in ("packing", "spacegroups", "clusters")
        for pair, said in (
            (f"[1, {10**9}]", "highest <="),
            (f"[1, {HUGE}]", "highest <="),
            ("[9, 2]", "lowest <="),
            ("[-3, 2]", "lowest <="),
            ("[]", "2 values"),
            ("[.nan, 3]", "whole"),
            ("4", "list"),
        )
    ),
    *(
        source(name, f"rattle: {pair}", "rattle", said)
        for name in ("clusters", "fluids", "slabs")
        for pair, said in (("[0, 1e300]", "<= 5"), ("[.nan, 1]", "finite"), ("[-1, 1]", "0 <="), ("[2, 1]", "lowest"))
    ),
    *(
        source(name, f"maximum_elongation: {value}", "maximum_elongation", said)
        for name in ("packing", "fluids")
        for value, said in (("1e300", "1 to 100"), ("0.5", "1 to 100"), (".inf", "finite"))
    ),
    *(source(name, "vacuum: [1e300, 1e300]", "vacuum", "<= 100") for name in ("clusters", "slabs", "dimers")),
    source("packing", "minimum_sphere_radius: 1e300", "minimum_sphere_radius", "10 at most"),
    source("packing", "minimum_distance_ratio: [0.6, 1e300]", "minimum_distance_ratio", "<= 5"),
    source("packing", "packing_fraction: [0.9, 1.0]\nminimum_distance_ratio: [1, 1]", "cannot be packed"),
    source("packing", "angles: [0, 180]", "angles", "30 <="),
    source("packing", "elements: [He]\ncomposition: charge_balanced", "charge_balanced"),
    source("prototypes", "prototypes: [rocksolt]", "'rocksolt'", "'rocksalt'"),
    source("prototypes", "prototypes: []", "prototypes"),
    source("prototypes", "prototypes: [1]", "text"),
    source("prototypes", "kinds: [0, 0, 0]", "kinds", "sum of 1"),
    source("prototypes", "kinds: [-1, 1, 1]", "kinds"),
    source("prototypes", f"kinds: [{10**9}, 1, 1]", "kinds", "100"),
    source("prototypes", "elements: [H]\nkinds: [0, 1, 0]", "no prototype of these kinds"),
    source("prototypes", "maximum_volume: 1e-300", "maximum_volume", "needs more"),
    source("prototypes", f"maximum_atoms: {10**9}", "maximum_atoms", "1024"),
    source("prototypes", "perturb: {ratle: [0, 1]}", "perturb", "'ratle'", "'rattle'"),
    source("prototypes", "perturb: [rattle]", "perturb", "mapping"),
    source("prototypes", "perturb: {perturb: {}}", "perturb: unknown key 'perturb'"),
    source("prototypes", "perturb: {strain: [0, .inf]}", "strain", "finite"),
    source("prototypes", "perturb: {rattle_probability: 80}", "rattle_probability 80", "0 to 1"),
    source("prototypes", f"perturb: {{interstitials: [{10**9}, {10**9}]}}", "interstitials", "<= 64"),
    source("prototypes", f"perturb: {{vacancies: [1, {10**30}]}}", "vacancies", "<= 64"),
    source("prototypes", f"perturb: {{maximum_atoms: {10**12}}}", "maximum_atoms", "1024"),
    source("prototypes", "perturb: {supercell: cubic}", "'cubic'", "diagonal, general"),
    source("spacegroups", "space_groups: [231]", "231", "1 to 230"),
    source("spacegroups", "space_groups: [0]", "1 to 230"),
    source("spacegroups", f"space_groups: [{HUGE}]", "1 to 230"),
    source("spacegroups", "space_groups: [P1]", "'P1'"),
    source("spacegroups", "space_groups: [1, 1]", "each once"),
    source("spacegroups", "space_groups: []", "space_groups"),
    source("spacegroups", "space_groups: [230]\natoms: [1, 2]", "space group 230", "orbits"),
    source("clusters", "molecule_share: 1.5", "molecule_share 1.5"),
    source("clusters", "bond_scale: [1, 1e300]", "bond_scale", "<= 10"),
    source("clusters", "elements: [Ar]", "no molecule"),
    source("clusters", "maximum_volume: 1", "maximum_volume 1", "expected more"),
    source("fluids", "molecules: [H2O, XeF2]", "XeF2", "H2O"),
    source("fluids", "molecules: [H2O, H2O]", "each once"),
    source("fluids", "molecules: []", "molecules"),
    source("fluids", "elements: [H]\nmolecules: [H2O]", "H2O", "elements"),
    source("fluids", f"copies: [1, {10**12}]", "copies", "1024"),
    source("fluids", "kinds: [1, 3]", "kinds", "<= 2"),
    source("fluids", "mass_density: [0, 1]", "mass_density", "0.001"),
    source("fluids", "intermolecular_ratio: [1, 1e300]", "intermolecular_ratio", "<= 5"),
    source("slabs", "maximum_index: 5", "maximum_index 5", "4"),
    source("slabs", f"maximum_repeats: {10**9}", "maximum_repeats", "32"),
    source("slabs", "thickness: [1, 1e300]", "thickness", "<= 100"),
    source("slabs", "prototype: {perturb: {rattle_probability: 0}}", "no effect on slabs"),
    source("slabs", "prototype: {prototypes: [nacl]}", "prototype: prototypes: 'nacl'"),
    source("slabs", "maximum_atoms: 4", "maximum_atoms 4"),
    source("dimers", "cutoff: 1e300", "cutoff", "100 at most"),
    source("dimers", "trimer_cutoff: 1", "trimer_cutoff 1"),
    source("dimers", f"strata: {10**12}", "strata", "1024"),
    source("dimers", f"trimers: {10**12}", "trimers", "0 to 1024"),
    source("dimers", f"isolated_atoms: {HUGE}", "isolated_atoms", "0 to 1024"),
    source("dimers", "tilt: -1", "tilt -1"),
    source("user", "", "files must be given"),
    source("user", "files: []", "files"),
    source("user", "files: starts.extxyz", "files", "list"),
    source("user", "files: [1]", "text"),
    source("user", "files: [starts.extxyz]\ncopies: -1", "copies -1"),
    source("user", f"files: [starts.extxyz]\ncopies: {10**12}", "copies", "1000000000"),
    source("user", f"files: [starts.extxyz]\ncopies: {HUGE}", "copies", "1000000000"),
    source("user", "files: [starts.extxyz]\nvacuum: .nan", "vacuum", "finite"),
    source("user", "files: [starts.extxyz]\nvacuum: 1e300", "vacuum", "100"),
    source("user", "files: [starts.extxyz]\nminimum_distance_ratio: 0.1", "0.1", "0.5"),
    source("user", "files: [starts.extxyz]\nminimum_distance_ratio: 1e300", "5 or less"),
    source("user", "files: [starts.extxyz]\nperturb: {volume: [0, 1]}", "perturb", "volume", "0.2"),
]
ORDERS = [
    pytest.param("-n 3 --start 9223372036854775808", "start", id="an index beyond 64 bits"),
    pytest.param(f"-n 3 --start {HUGE}", "start", id="a start of 400 digits"),
    pytest.param(f"-n {10**30}", "indices below", id="a number without measure"),
    pytest.param(f"-n {10**15} --shard-size 1", "shards", id="more shards than a folder bears"),
    pytest.param(f"-n 3 --start {2**53 - 1}", "indices below", id="the end beyond the last index"),
    pytest.param("-n 3 --shard-size 0", "shard-size", id="shards of nothing"),
    pytest.param(f"-n 3 --workers {10**9}", "workers", id="workers without measure"),
    pytest.param("-n 3 --workers 2 --scheduler tcp://a:1", "one of them", id="workers twice"),
    pytest.param("", "-n", id="an endless recipe without a number"),
    pytest.param("-n 3 --scheduler nonsense", "'nonsense'.*tcp://host", id="a scheduler that is no address"),
    pytest.param("-n 3 --scheduler http://x:1", "http.*tcp://host", id="a scheduler of another kind"),
]


@pytest.mark.parametrize(("text", "said"), WHOLE + ELEMENTS + KEYS)
def test_a_wrong_recipe_is_refused_by_every_door(text, said, refused):
    told = refused("generate bad.yaml -n 3 -o out.extxyz", ("bad.yaml", *said), {"bad.yaml": text})
    files = {"campaign.yaml": "generate: {recipe: bad.yaml}\n"}
    assert refused("launch campaign.yaml --dry-run", ("bad.yaml", *said), files) == told


@pytest.mark.parametrize("output", ["out.extxyz", "out"])
@pytest.mark.parametrize(("options", "said"), ORDERS)
def test_an_impossible_order_is_refused(options, said, output, refused):
    refused(f"generate recipe.yaml {options} -o {output}", (said,))


def test_counts_without_measure_are_no_list_in_memory(refused, folder):
    text = f"source: packing\nelements: [H]\nspecies: [1, 1]\ncount: {10**15}\n"
    refused("generate bad.yaml -o out.extxyz", ("1000000000000000", "shards"), {"bad.yaml": text})
    from click.testing import CliRunner

    from aiida_argonaut.cli import argonaut

    assert CliRunner().invoke(argonaut, ["generate", "bad.yaml", "-n", "2", "-o", "out.extxyz"]).exit_code == 0


def test_many_copies_cost_nothing_until_they_are_made(folder):
    from aiida_argonaut.mlip.generate.recipe import configuration, load_recipe

    (folder / "own.yaml").write_text(f"source: user\nfiles: [starts.extxyz]\ncopies: {10**9}\n")
    recipe = load_recipe(folder / "own.yaml")
    assert recipe.length == 6 * (10**9 + 1)
    assert configuration(recipe, 1, recipe.length - 1).origin.source == "user"
