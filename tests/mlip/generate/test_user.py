"""The user's own structures: every format, always kept, always marked, perturbed on request; bad files are named."""

import json

import ase.build
import ase.io
import numpy as np
import pytest
from pymatgen.core import Lattice, Molecule, Structure

from aiida_argonaut.mlip.extxyz import FrameError
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.generate.recipe import generate, load_recipe
from aiida_argonaut.mlip.generate.user_files import prepared, read_structures
from aiida_argonaut.mlip.sanity import distance_ratio
from aiida_argonaut.mlip.settings import SettingsError

DISORDERED = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
A Al 0 0 0 0.5
B Mg 0 0 0 0.5
"""


@pytest.fixture
def folder(tmp_path):
    """salt.cif, POSCAR, slab.json, water.xyz, two.extxyz: 1 + 1 + 1 + 1 + 2 structures."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    salt.to(filename=str(tmp_path / "salt.cif"))
    ase.io.write(tmp_path / "POSCAR", ase.build.bulk("Si"), format="vasp")
    Molecule(["C", "O"], [[0, 0, 0], [0, 0, 1.13]]).to(filename=str(tmp_path / "carbonyl.json"))
    ase.io.write(tmp_path / "water.xyz", ase.build.molecule("H2O"))
    two = [ase.build.bulk("Al"), ase.build.fcc111("Al", (1, 1, 3), vacuum=4)]
    ase.io.write(tmp_path / "two.extxyz", two, format="extxyz")
    return tmp_path


FILES = ["salt.cif", "POSCAR", "carbonyl.json", "water.xyz", "two.extxyz"]


def recipe(folder, **keys):
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"source": "user", "files": FILES, **keys}))
    return load_recipe(path)


def test_every_structure_is_kept_as_it_is_and_marked(folder):
    own = recipe(folder)
    assert own.length == 6
    made = [generate(own, 3, index) for index in range(6)]
    assert [each.configuration.formula for each in made] == ["Cl4Na4", "Si2", "CO", "H2O", "Al", "Al3"]
    assert [each.figures["given"] for each in made] == [*(f"{name}#0" for name in FILES), "two.extxyz#1"]
    for index, each in enumerate(made):
        assert (each.configuration.origin.source, each.configuration.origin.seed) == ("user", f"3/{index}")
        assert each.configuration.periodic
    silicon = ase.build.bulk("Si")
    expected = Configuration(silicon.numbers, silicon.positions, silicon.cell.array)
    np.testing.assert_allclose(made[1].configuration.cell, expected.cell, atol=1e-8)
    assert own.elements == ["H", "C", "O", "Na", "Al", "Si", "Cl"]


def test_what_is_not_periodic_gets_room(folder):
    own = recipe(folder, vacuum=7.0)
    water, slab = generate(own, 0, 3).configuration, generate(own, 0, 5).configuration
    molecule = ase.build.molecule("H2O")
    np.testing.assert_allclose(np.linalg.norm(water.cell, axis=1), np.ptp(molecule.positions, axis=0) + 7.0, atol=1e-7)
    np.testing.assert_allclose(water.to_atoms().get_all_distances(), molecule.get_all_distances(), atol=1e-7)
    surface = ase.build.fcc111("Al", (1, 1, 3), vacuum=4)
    np.testing.assert_allclose(slab.cell, surface.cell.array, atol=1e-7)  # it had a box already
    bare = ase.build.fcc111("Al", (1, 1, 3))
    assert not all(bare.pbc)
    boxed = prepared(bare, 7.0)
    assert boxed.cell[2, 2] == pytest.approx(np.ptp(bare.positions[:, 2]) + 7.0)


def test_copies_are_perturbed_and_know_their_parents(folder):
    own = recipe(folder, copies=3, minimum_distance_ratio=0.7)
    assert own.length == 24
    made = [generate(own, 1, index).configuration for index in range(24)]
    parents = [each.configuration_id for each in made[:6]]
    for index, each in enumerate(made[6:]):
        assert each.origin.parent == parents[index % 6]
        assert each.configuration_id not in parents
        assert distance_ratio(each, reach=1.0) >= 0.7
    assert len({each.configuration_id for each in made}) == 24


def test_with_a_weight_there_is_no_end_to_copies(folder):
    path = folder / "mix.yaml"
    entries = [{"source": "user", "files": ["POSCAR"], "weight": 1}, {"source": "packing", "weight": 1}]
    path.write_text(json.dumps({"sources": entries}))
    mix = load_recipe(path)
    mine = [c for c in (generate(mix, 0, index).configuration for index in range(41)) if c.origin.source == "user"]
    assert generate(mix, 0, 0).configuration.formula == "Si2", "it comes first, whatever the weights"
    assert (mix.counted, mix.kept, len(mine)) == (1, 1, 21)
    assert mine[0].formula == "Si2"
    assert not mine[0].origin.parent
    assert all(each.origin.parent == mine[0].configuration_id for each in mine[1:])


def test_the_hash_is_that_of_the_contents(folder):
    before = recipe(folder).content_hash
    (folder / "salt.cif").rename(folder / "kitchen.cif")
    assert recipe(folder, files=["kitchen.cif", *FILES[1:]]).content_hash == before
    assert recipe(folder, files=[*FILES[1:], "kitchen.cif"]).content_hash != before
    ase.io.write(folder / "POSCAR", ase.build.bulk("Si", a=5.5), format="vasp")
    assert recipe(folder, files=["kitchen.cif", *FILES[1:]]).content_hash != before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.cif", None, "gone.cif: no such file"),
        ("empty.extxyz", "", "empty.extxyz: "),
        ("broken.cif", "data_x\n_cell_length_a four\n", "broken.cif: cannot be read as a structure"),
        ("broken.vasp", "Si\nx\n", "broken.vasp: cannot be read as a structure"),
        ("mixed.cif", DISORDERED, "mixed.cif: .*partly occupied; give an ordered structure"),
        ("iron.xyz", "1\n\nFe 0 0 0\n", r"iron.xyz, frame 0: Fe: atomic numbers \[26\] are outside H-Ar"),
        ("near.xyz", "2\n\nC 0 0 0\nC 0 0 0.5\n", "near.xyz, frame 0: C2: closest pair at 0.329"),
        ("data.json", "{}", "data.json: cannot be read as a structure"),
        ("note.txt", "Dear diary", "note.txt: cannot be read as a structure"),
        ("group:mine", None, "group:mine: groups of AiiDA can be named in campaign files only"),
    ],
)
def test_what_cannot_be_used_is_named_and_the_rest_kept_on_request(folder, name, content, message):
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(SettingsError, match=f"{message}.*skip_unusable: true"):
        recipe(folder, files=["POSCAR", name])
    rest = recipe(folder, files=["POSCAR", name], skip_unusable=True)
    assert rest.length == 1
    assert len(rest.left_out) == 1
    assert name in rest.left_out[0]
    with pytest.raises(SettingsError, match="none of them holds a structure"):
        recipe(folder, files=[name], skip_unusable=True)


def test_structures_that_were_generated_can_be_read(folder, tmp_path):
    from aiida_argonaut.mlip.generate.shards import Order, write_folder
    from aiida_argonaut.mlip.parallel import results

    list(write_folder(Order(recipe(folder), 0, 0, 6), tmp_path / "shards", results))
    assert len(read_structures(tmp_path / "shards")) == 6
    with pytest.raises(FrameError, match="no such file"):
        read_structures(tmp_path / "shards" / "generated.xyz")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"files": []}, r"files \[\]"),
        ({"count": 3}, "count 3: the files hold 6 structures, all of which are kept"),
        ({"copies": -1}, "copies -1"),
        ({"minimum_distance_ratio": 0.4}, "minimum_distance_ratio 0.4"),
        ({"vacuum": 0}, "vacuum 0"),
        ({"perturb": {"ratle": 1}}, "unknown key 'ratle'"),
    ],
)
def test_bad_settings(folder, keys, message):
    with pytest.raises(SettingsError, match=message):
        recipe(folder, **keys)
