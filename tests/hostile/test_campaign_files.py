"""Campaign files and recipes that are wrong: one line says where and what, and nothing is begun."""

import pytest

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
GENERATE = "generate: {recipe: recipe.yaml}\n"


def case(words, content, *said, name="campaign.yaml"):
    """A campaign file with this content (text, bytes), and what the message must hold beside its name."""
    return pytest.param(name, content, said, id=words)


def section(words, text, *said):
    """A file that is good but for these lines."""
    return case(words, GENERATE + text, *said)


FILES = [
    case("an empty file", "", "generate must be given"),
    case("binary rubbish", bytes(range(256)), "cannot be read as text"),
    case("not UTF-8", "label: {family: größe}".encode("latin-1"), "UTF-8"),
    case("UTF-16", GENERATE.encode("utf-16"), "UTF-8"),
    case("a NUL byte", GENERATE + "seed: \0", "not valid YAML"),
    case("a tab for indentation", "generate:\n\trecipe: recipe.yaml\n", "not valid YAML", "line 2"),
    case("a bracket never closed", "generate: {recipe: recipe.yaml\nseed: 1", "not valid YAML"),
    case("a list at the top", "- generate\n- label\n", "holds a list", "key: value"),
    case("one word", "campaign", "holds a str"),
    case("two documents in one file", GENERATE + "---\n" + GENERATE, "not valid YAML", "document"),
    case("a key given twice", GENERATE + "seed: 1\nseed: 2\n", "'seed' is given twice"),
    case("a key given twice in a section", "generate: {recipe: recipe.yaml, starts: 2, starts: 3}", "'starts'.*twice"),
    case("code for Python to run", "generate: !!python/object/apply:os.system [touch hacked]", "not valid YAML", "tag"),
    case("aliases that blow up", BOMB, "aliases blow"),
    case("an alias that holds itself", "generate: &a {recipe: {x: *a}}", "aliases blow"),
    case("nested ten thousand deep", "generate: " + "[" * 10000, "nested too deeply"),
    case("JSON nested ten thousand deep", '{"generate": ' + "[" * 10000, "nested too deeply", name="campaign.json"),
    case("JSON with NaN", '{"generate": {"recipe": "recipe.yaml"}, "seed": NaN}', "NaN", name="campaign.json"),
    case("JSON with a key twice", '{"seed": 1, "seed": 2}', "'seed' is given twice", name="campaign.json"),
    case("JSON cut off", '{"generate": {"recipe": "rec', "not valid YAML or JSON", name="campaign.json"),
    case("a number of five thousand digits", GENERATE + "seed: " + "9" * 5000, "digits"),
]
KEYS = [
    section("an unknown key", "lable: {}\n", "unknown key 'lable'", "did you mean 'label'"),
    section("an unknown key of a section", "stop: {iteration: 3}\n", "'iteration'", "'iterations'"),
    section("an unknown key of training", "train: {step: 3}\n", "'step'", "'steps'"),
    section("an unknown stage", "stages: {lable: {}}\n", "'lable'", "'label'"),
    section("a section that is a list", "label: [fast]\n", "label", "mapping"),
    section("a section that is a number", "train: 3\n", "train", "mapping"),
    section("a key that is a number", "label: {labeller: ase, parameters: {1: 2}}\n", "parameters", "expected text"),
    section("text for a number", "seed: seven\n", "seed", "'seven'", "whole number"),
    section("a fraction for a count", "select: {count: 1.5}\n", "count", "1.5", "whole number"),
    section("true for a number", "seed: true\n", "seed", "True", "whole number"),
    section("a date for a number", "seed: 2026-01-01\n", "seed", "2026-01-01"),
    section("a negative seed", "seed: -1\n", "seed -1", "0 or more, up to"),
    section("a seed too large", f"seed: {10**40}\n", "seed", "0 or more, up to"),
    section("members below two", "train: {members: 1}\n", "members 1", "at least 2"),
    section("no steps", "train: {steps: 0}\n", "steps 0", "positive"),
    section("a learning rate of infinity", "train: {learning_rate: .inf}\n", "learning_rate", "finite"),
    section("a learning rate of 1e400", "train: {learning_rate: 1e400}\n", "learning_rate", "finite"),
    section("a learning rate of NaN", "train: {learning_rate: .nan}\n", "learning_rate", "finite"),
    section("NaN to an ASE calculator", "label: {labeller: ase, parameters: {sigma: .nan}}\n", "nan", "finite"),
    section("an unknown architecture", "train: {architecture: teenet}\n", "teenet", "teanet"),
    section("an unknown preset", "train: {preset: huge}\n", "huge", "campaign"),
    section("temperature with its unit", "explore: {temperature_K: 300 K}\n", "temperature_K", "'300 K'", "number"),
    section("temperatures the wrong way round", "explore: {temperature_K: [900, 300]}\n", "900", "lowest <= highest"),
    section("a negative temperature", "explore: {temperature_K: -5}\n", "temperature_K", "above 0 K"),
    section("three temperatures", "explore: {temperature_K: [1, 2, 3]}\n", "temperature_K", "2 values"),
    section("hours with their unit", "budget: {wall_hours: 12h}\n", "wall_hours", "'12h'", "number"),
    section("hours as a clock shows them", "budget: {wall_hours: 12:30}\n", "12:30", "decimal"),
    section("per cent for a share", "budget: {lost_share: 30}\n", "lost_share 30", "0.3"),
    section("per cent with its sign", "budget: {lost_share: 30%}\n", "lost_share", "'30%'"),
    section("a budget of nothing", "budget: {labels: 0}\n", "labels 0", "above 0"),
    section("a share above one to draw at random", "select: {random_fraction: 20}\n", "random_fraction", "20"),
    section("a target of nothing", "stop: {force_rmse: 0}\n", "force_rmse 0", "eV/Å"),
    section("an unknown labeller", "label: {labeller: vasp}\n", "'vasp'", "quantumespresso, ase, table"),
    section("a key of another labeller", "label: {labeller: ase, protocol: fast}\n", "protocol", "'ase'"),
    section("an unknown value of the protocol", "label: {overrides: {kspacing: 1}}\n", "kspacing"),
    section("a cutoff of the wrong sign", "label: {overrides: {wavefunction_cutoff: -40}}\n", "cutoff", "-40"),
    section("k points with their unit", "label: {overrides: {kpoints_spacing: 0.2 1/A}}\n", "kpoints_spacing", "1/A"),
    section("a calculator that is no class", "label: {labeller: ase, calculator: lj}\n", "'lj'", "module:Class"),
    section("a table that does not exist", "label: {labeller: table, table: no.extxyz}\n", "no.extxyz", "no such file"),
    section("own structures in a folder", "start: {structures: model}\n", "structures", "model: expected a file, or"),
    section("own data that do not exist", "start: {data: no.extxyz}\n", "no.extxyz", "no such file or folder"),
    section("a protocol without data", "start: {protocol: same}\n", "protocol", "no data"),
    case(
        "recipe and pool", "generate: {recipe: recipe.yaml, pool: starts.extxyz}", "either recipe or pool", "not both"
    ),
    case("no seed set and nothing else", "generate: {recipe: recipe.yaml, seed_set: 0}", "seed_set 0", "seed set"),
]
RECIPES = [
    case("a recipe that does not exist", "generate: {recipe: no.yaml}", "no.yaml", "cannot be read"),
    case("a recipe that is a folder", "generate: {recipe: model}", "model", "cannot be read"),
    case("a recipe that is no recipe", "generate: {recipe: starts.extxyz}", "starts.extxyz", "holds a str"),
    case("an element beyond Ar", "generate: {recipe: {source: packing, elements: [H, Fe]}}", "Fe", "H to Ar"),
    case("an element there is not", "generate: {recipe: {source: packing, elements: [Xx]}}", "Xx", "H to Ar"),
    case("no element at all", "generate: {recipe: {source: packing, elements: []}}", "elements"),
    case("an unknown source", "generate: {recipe: {source: parking}}", "'parking'", "packing"),
    case("atoms the wrong way round", "generate: {recipe: {source: packing, atoms: [8, 2]}}", "atoms", "lowest <="),
    case("no atoms", "generate: {recipe: {source: packing, atoms: [0, 2]}}", "atoms", "0, 2"),
    case(
        "per cent for a packing",
        "generate: {recipe: {source: packing, packing_fraction: [8, 60]}}",
        r"packing_fraction \[8, 60\]",
        "highest <= 1",
    ),
    case(
        "atoms closer than DFT bears", "generate: {recipe: {source: packing, minimum_distance_ratio: [0.1, 1]}}", "0.1"
    ),
    case("a negative weight", "generate: {recipe: {sources: [{source: packing, weight: -1}]}}", "weight -1"),
    case("no sources", "generate: {recipe: {sources: []}}", "expected a list of sources"),
]


@pytest.mark.parametrize(("name", "content", "said"), FILES + KEYS + RECIPES)
def test_a_wrong_campaign_file_is_refused(name, content, said, refused):
    refused(f"launch {name}", (*said,), {name: content})


@pytest.mark.parametrize("command", ["launch", "launch --dry-run", "check"])
@pytest.mark.parametrize("name", ["campaign.yaml", "campaign.json"])
def test_as_a_user_types_it(command, name, refused):
    refused(f"{command} {name}", (name, "'seed' is given twice"), {name: '{"seed": 1, "seed": 2}'}, user=True)
