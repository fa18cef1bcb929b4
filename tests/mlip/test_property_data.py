"""Property files of each form give the same crystals; what is left out is counted, what is wrong is named."""

import gzip
import json
import math
import pickle
import subprocess
import sys
import warnings
import zipfile

import ase.io
import numpy as np
import pytest
from pymatgen.core import Structure

from aiida_argonaut.mlip import property_files
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.property_data import PropertyData, PropertyError, Target, read_property_data

GAP = Target("band_gap", "eV")
CELL = [[3.0, 0.0, 0.0], [0.5, 4.0, 0.0], [0.0, 0.25, 5.0]]
SALT = """data_NaCl
_symmetry_space_group_name_H-M 'F m -3 m'
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""
HOSTILE = ["[" * 200_000, '[{"band_gap": ' + "[" * 200_000, '{"a":' * 200_000]


def structure(a=3.0, elements=("Na", "Cl")):
    return Structure([[a, 0, 0], *CELL[1:]], list(elements), [[0, 0, 0], [0.5, 0.25, 0.125]])


def pymatgen_row(name, value, made=None, cif=False):
    made = structure() if made is None else made
    return {"material_id": name, "structure": made.to(fmt="cif") if cif else made.as_dict(), "band_gap": value}


def jarvis_row(name="JVASP-1", elements=("Na", "Cl"), cartesian=False, a=3.0, **values):
    made = structure(a, elements)
    atoms = {
        "lattice_mat": made.lattice.matrix.tolist(),
        "coords": (made.cart_coords if cartesian else made.frac_coords).tolist(),
        "elements": list(elements),
        "abc": [3.0, 4.0, 5.0],
        "angles": [90.0, 90.0, 90.0],
        "cartesian": cartesian,
        "props": ["", ""],
    }
    return {"jid": name, "spg_symbol": "P1", "atoms": atoms, "band_gap": 1.5, **values}


def written(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def read(path, target=GAP):
    return read_property_data([path], target)


def same(configuration, made, rotated=False):
    """CIF texts keep lengths and angles of the lattice, not how it is turned."""
    assert isinstance(configuration, Configuration)
    assert configuration.numbers.tolist() == [site.specie.Z for site in made]
    assert configuration.pbc == (True, True, True)
    cell, given = configuration.cell, made.lattice.matrix
    np.testing.assert_allclose(configuration.positions @ np.linalg.inv(cell), made.frac_coords, atol=2e-8)
    np.testing.assert_allclose(cell @ cell.T, given @ given.T, atol=1e-6)
    if not rotated:
        np.testing.assert_allclose(cell, given, atol=1e-8)


def values(data):
    return [(entry.name, entry.value) for entry in data.entries]


@pytest.mark.parametrize("cartesian", [False, True])
def test_jarvis_without_pymatgen(tmp_path, cartesian):
    path = written(tmp_path / "jdft_3d.json", [jarvis_row(cartesian=cartesian), jarvis_row("JVASP-2", a=4.0)])
    data = read(path)
    assert isinstance(data, PropertyData)
    assert values(data) == [("JVASP-1", 1.5), ("JVASP-2", 1.5)]
    same(data.entries[0].configuration, structure())
    assert (data.left_out, data.files) == ({}, (path,))


def test_plain_numbers_need_no_pymatgen(tmp_path):
    path = written(tmp_path / "a.json", [jarvis_row(), pymatgen_row("mp-1", 2.0)])
    program = (
        "import sys; from pathlib import Path\n"
        "from aiida_argonaut.mlip.property_data import Target, read_property_data\n"
        f"assert len(read_property_data([Path({str(path)!r})], Target('band_gap')).entries) == 2\n"
        "assert not any(name.partition('.')[0] in ('pymatgen', 'torch', 'aiida') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_has_no_value_or_foreign_elements_is_counted(tmp_path):
    rows = [
        jarvis_row(bulk_modulus_kv=50.0),
        jarvis_row("JVASP-2", bulk_modulus_kv="na"),
        jarvis_row("JVASP-3", bulk_modulus_kv=None),
        jarvis_row("JVASP-4"),
        jarvis_row("JVASP-5", ("Na", "Fe"), bulk_modulus_kv=9.0),
        jarvis_row("JVASP-6", bulk_modulus_kv=0.0, a=3.5),
        jarvis_row("JVASP-7", bulk_modulus_kv=-1.0, a=3.6),
        {**jarvis_row("JVASP-8", bulk_modulus_kv=8.0), "atoms": None},
    ]
    path = written(tmp_path / "a.json", rows)
    data = read(path, Target("bulk_modulus_kv", "GPa", log10=True))
    assert values(data) == [("JVASP-1", pytest.approx(math.log10(50.0)))]
    assert data.left_out == {"elements beyond Ar": 1, "no structure": 1, "no value": 3, "not positive": 2}
    assert sum(data.left_out.values()) + len(data.entries) == len(rows)
    assert [entry.value for entry in read(path, Target("bulk_modulus_kv")).entries] == [50.0, 0.0, -1.0]


def test_extensive_values_are_divided_by_the_atoms_and_then_the_logarithm_is_taken(tmp_path):
    path = written(tmp_path / "a.json", [jarvis_row(band_gap=200.0)])
    assert values(read(path, Target("band_gap", extensive=True))) == [("JVASP-1", 100.0)]
    assert values(read(path, Target("band_gap", extensive=True, log10=True))) == [("JVASP-1", 2.0)]


def test_duplicates_are_counted_and_other_values_kept(tmp_path):
    rows = [jarvis_row(), jarvis_row("again"), jarvis_row("other value", band_gap=1.6)]
    first, second = written(tmp_path / "a.json", rows), written(tmp_path / "b.json", [jarvis_row("elsewhere")])
    data = read_property_data([first, second], GAP)
    assert values(data) == [("JVASP-1", 1.5), ("other value", 1.6)]
    assert data.left_out == {"duplicate": 2}
    ids = {entry.configuration.configuration_id for entry in data.entries}
    assert len(ids) == 1


@pytest.mark.parametrize("cif", [False, True])
@pytest.mark.parametrize("elements", [("Na", "Cl"), ("Na+", "Cl-"), ("D", "Cl")])
def test_materials_project(tmp_path, cif, elements):
    made = structure(elements=elements)
    path = written(tmp_path / "mp.json", [pymatgen_row("mp-1", 0.25, made, cif), pymatgen_row("mp-2", 1, cif=cif)])
    data = read(path)
    assert values(data)[0] == ("mp-1", 0.25)
    same(data.entries[0].configuration, made, rotated=cif)


def test_a_cif_with_symmetry_becomes_the_whole_cell(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read(written(tmp_path / "a.json", [{"material_id": "mp-22862", "structure": SALT, "band_gap": 5.0}]))
    configuration = data.entries[0].configuration
    assert sorted(configuration.numbers.tolist()) == [11] * 4 + [17] * 4
    assert configuration.volume == pytest.approx(5.64**3)


@pytest.mark.parametrize("cif", [False, True])
def test_disordered_and_foreign_crystals_are_counted(tmp_path, cif):
    mixed = Structure(CELL, [{"Na": 0.5, "Li": 0.5}, "Cl"], [[0, 0, 0], [0.5] * 3])
    vacant = Structure(CELL, [{"Na": 0.5}, "Cl"], [[0, 0, 0], [0.5] * 3])
    foreign = structure(elements=("K", "Cl"))
    both = Structure(CELL, [{"Fe": 0.5, "Li": 0.5}, "Cl"], [[0, 0, 0], [0.5] * 3])
    rows = [pymatgen_row("mp", 1.0, made, cif) for made in (mixed, vacant, foreign, both, structure())]
    assert read(written(tmp_path / "a.json", rows)).left_out == {"disordered": 2, "elements beyond Ar": 2}
    nameless = [
        {**row, "structure": row["structure"].replace("_chemical_formula_sum", "_other")} for row in rows if cif
    ]
    if cif:  # where the formula does not say it already
        assert read(written(tmp_path / "a.json", nameless)).left_out == {"disordered": 2, "elements beyond Ar": 2}


def test_nested_keys_and_keys_with_dots(tmp_path):
    row = {**pymatgen_row("mp-1", 0.0), "bulk_modulus": {"vrh": 77.0, "voigt": 78.0}, "a.b": 3.0}
    rows = [
        row,
        {**pymatgen_row("mp-2", 0.0), "bulk_modulus": None},
        {**pymatgen_row("mp-3", 0.0), "bulk_modulus": "na"},
    ]
    path = written(tmp_path / "a.json", rows)
    data = read(path, Target("bulk_modulus.vrh"))
    assert (values(data), data.left_out) == ([("mp-1", 77.0)], {"no value": 2})
    assert values(read(path, Target("a.b"))) == [("mp-1", 3.0)]
    with pytest.raises(
        PropertyError, match=r"no entry has the key 'bulk_modulus.vhr'; nearest keys: bulk_modulus\.vrh"
    ):
        read(path, Target("bulk_modulus.vhr"))
    with pytest.raises(PropertyError, match=r"entry 0: bulk_modulus is \{.*\}: expected a number"):
        read(path, Target("bulk_modulus"))


def test_the_nearest_keys_are_named(tmp_path):
    path = written(tmp_path / "a.json", [jarvis_row(formation_energy_peratom=-1.0, optb88vdw_bandgap="na")])
    with pytest.raises(PropertyError, match="nearest keys: formation_energy_peratom"):
        read(path, Target("formation_energy_per_atom"))
    with pytest.raises(PropertyError, match="nearest keys: band_gap, optb88vdw_bandgap"):
        read(path, Target("bandgap"))
    with pytest.raises(PropertyError, match="some keys: band_gap, formation_energy_peratom, optb88vdw_bandgap"):
        read(path, Target("xyz"))


def test_a_table_of_matminer(tmp_path):
    data = [[structure().as_dict(), 0.5], [structure(4.0).as_dict(), 0.75], [structure(5.0).as_dict(), None]]
    table = {"index": ["mb-0001", "mb-0002", "mb-0003"], "columns": ["structure", "band_gap"], "data": data}
    found = read(written(tmp_path / "a.json", table))
    assert (values(found), found.left_out) == ([("mb-0001", 0.5), ("mb-0002", 0.75)], {"no value": 1})
    same(found.entries[1].configuration, structure(4.0))
    path = written(tmp_path / "b.json", {**table, "index": [0, 1, 2]})
    assert values(read(path))[1] == (f"{path}#1", 0.75)
    with pytest.raises(PropertyError, match="entry 1: 3 columns; expected 2"):
        read(written(tmp_path / "c.json", {**table, "data": [data[0], [*data[1], 1]]}))


def test_json_lines_answers_and_single_entries(tmp_path):
    rows = [jarvis_row(), jarvis_row("JVASP-2", band_gap=2.5)]
    lines = written(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in rows) + "\n\n")
    answer = written(tmp_path / "b.json", {"data": rows, "meta": {"total_doc": 2}})
    for path in (lines, answer):
        assert values(read(path)) == [("JVASP-1", 1.5), ("JVASP-2", 2.5)]
    assert values(read(written(tmp_path / "c.json", json.dumps(rows[0], indent=1)))) == [("JVASP-1", 1.5)]
    with pytest.raises(PropertyError, match=r"a\.jsonl, line 2: not valid JSON"):
        read(written(lines, json.dumps(rows[0]) + "\n{broken}\n"))


def test_packed_files(tmp_path):
    text = "\ufeff" + json.dumps([jarvis_row()])
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("jdft_3d-12-12-2022.json", text)
        archive.writestr("__MACOSX/._jdft_3d-12-12-2022.json", "x")
    (tmp_path / "named_wrongly").write_bytes((tmp_path / "a.zip").read_bytes())
    for name in ("a.json.gz", "a.zip", "named_wrongly"):
        assert values(read(tmp_path / name)) == [("JVASP-1", 1.5)]


def cgcnn(folder, lines, cif=None):
    folder.mkdir(exist_ok=True)
    (folder / "id_prop.csv").write_text(lines)
    for name, a in (("one", 3.0), ("two", 4.0)):
        (folder / f"{name}.cif").write_text(structure(a).to(fmt="cif") if cif is None else cif)
    return folder


def test_a_cgcnn_folder(tmp_path):
    folder = cgcnn(tmp_path / "f", "one,1.5\n\ntwo, -2e-1\r\none,na\n")
    for path in (folder, folder / "id_prop.csv"):
        data = read(path, Target("anything at all"))
        assert (values(data), data.left_out) == ([("one", 1.5), ("two", -0.2)], {"no value": 1})
    same(data.entries[1].configuration, structure(4.0), rotated=True)
    latin = structure().to(fmt="cif").encode() + "# Müller\n".encode("latin-1")
    (folder / "one.cif").write_bytes(latin)
    assert len(read(folder).entries) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("name,value\none,1\n", "row 1: 'value' is no number; expected 'id,value', no header"),
        ("one,1\ntwo,1.5 eV\n", "row 2: '1.5 eV' is no number"),
        ("one,1,2\n", r"row 1: 3 columns; expected two, 'id,value'"),
        ("one,1\n../one,1\n", r"row 2: '\.\./one' is no identifier"),
        ("/etc/x,1\n", "is no identifier"),
        (",1\n", "'' is no identifier"),
        ("one\0,1\n", "no identifier|not readable as lines"),
        ("one,nan\n", "expected a finite number"),
        ("three,1\n", r"three\.cif: no such file"),
        ("", "no entries to learn from; the files hold none"),
        ("o" * 200_000 + ",1\n", "not readable as lines"),
        ("o" * 5_000 + ",1\n", "no such file"),
    ],
)
def test_bad_cgcnn_tables(tmp_path, lines, message):
    refused(cgcnn(tmp_path / "f", lines), message)


def refused(path, message, target=GAP):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PropertyError, match=message) as error:
            read(path, target)
    text = str(error.value)
    assert "\n" not in text
    assert str(path.parent) in text
    assert len(text) < len(str(path)) + 400 or "no such file" in text


def frames(path, *infos, pbc=True, a=3.0):
    made = [ase.Atoms("NaCl", structure(a).cart_coords, cell=structure(a).lattice.matrix, pbc=pbc) for _ in infos]
    for atoms, info in zip(made, infos, strict=True):
        atoms.info.update(info)
    ase.io.write(path, made, format="extxyz")
    return path


def test_extended_xyz(tmp_path):
    path = frames(tmp_path / "a.xyz", {"band_gap": 1.5}, {"band_gap": 2, "material_id": "mp-1"}, {}, {"band_gap": "na"})
    data = read(path)
    assert (values(data), data.left_out) == ([(f"{path}#0", 1.5), ("mp-1", 2.0)], {"no value": 2})
    same(data.entries[0].configuration, structure())
    (tmp_path / "packed").write_bytes(gzip.compress(path.read_bytes()))
    assert [value for _, value in values(read(tmp_path / "packed"))] == [1.5, 2.0]
    energies = frames(tmp_path / "b.extxyz", {"energy": -6.0})
    assert values(read(energies, Target("energy", extensive=True))) == [(f"{energies}#0", -3.0)]
    alone = frames(tmp_path / "c.extxyz", {"band_gap": 1.0}, pbc=False)
    assert not read(alone).entries[0].configuration.periodic


def test_bad_extended_xyz(tmp_path):
    refused(frames(tmp_path / "a.xyz", {"band_gap": 1.0}, pbc=(True, True, False)), "frame 0: pbc .* is supported")
    refused(frames(tmp_path / "b.xyz", {"band_gap": True}), "frame 0: band_gap is .*True.*: expected a number")
    refused(frames(tmp_path / "c.xyz", {"band_gap": [1.0, 2.0]}), "frame 0: band_gap is .*: expected a number")
    refused(frames(tmp_path / "d.xyz", {"band_gap": 1.0}, {"band_gap": float("inf")}), "frame 1: .*finite number")
    refused(written(tmp_path / "e.xyz", "2\n\nH 0 0 0\n"), r"e\.xyz: not readable as extended XYZ")
    refused(frames(tmp_path / "f.xyz", {"gap": 1.0}), "no entry has the key 'band_gap'; nearest keys: gap")
    refused(written(tmp_path / "g.xyz", "1\nband_gap=1\nX 0 0 0\n"), r"frame 0: .*atomic numbers \[0\]")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "band_gap is nan: expected a finite number"),
        (float("-inf"), "band_gap is -inf: expected a finite number"),
        (True, "band_gap is True: expected a number"),
        ("1.5", "band_gap is '1.5': expected a number, or null"),
        ([1.5], "expected a number"),
        (10**400, "too large"),
    ],
)
def test_values_that_are_no_numbers(tmp_path, value, message):
    path = written(tmp_path / "a.json", [jarvis_row(), jarvis_row(band_gap=value)])
    refused(path, f"entry 1: .*{message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lattice_mat": [[1, 0, 0], [0, 1, 0]]}, r"lattice_mat is .*expected \(3, 3\) numbers"),
        ({"lattice_mat": [[1, 0, 0], [0, 1, 0], [1, 1]]}, r"lattice_mat is .*expected \(3, 3\) numbers"),
        ({"lattice_mat": [["1", "0", "0"]] * 3}, r"lattice_mat is .*expected \(3, 3\) numbers"),
        ({"lattice_mat": [[1.0, 0.0, 0.0]] * 3}, "no volume"),
        ({"lattice_mat": [[1e-5, 0, 0], [0, 1, 0], [0, 0, 1]]}, "no volume|too small or too flat"),
        ({"coords": [[0, 0, 0]]}, r"coords is .*expected \(2, 3\) numbers"),
        ({"coords": None}, "coords is None"),
        ({"coords": [[0, 0, 0], [0, 0, float("nan")]]}, "coords is .*nan"),
        ({"coords": [[0, 0, 0], [0, 0, 1e300]]}, r"coords is .*up to 1e\+06"),
        ({"elements": ["Na", "Zz"]}, "'Zz' is no element"),
        ({"elements": ["Na", 17]}, "17 is no element"),
        ({"elements": "NaCl"}, "elements is 'NaCl': expected a list"),
        ({"elements": [], "coords": []}, r"coords is|numbers \(0,\)"),
        ({"cartesian": "no"}, "cartesian is 'no': expected true or false"),
    ],
)
def test_bad_jarvis_structures(tmp_path, change, message):
    row = jarvis_row()
    refused(written(tmp_path / "a.json", [{**row, "atoms": {**row["atoms"], **change}}]), f"entry 0: .*({message})")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("no CIF at all", "not readable as CIF"),
        ("data_x\nloop_\n", "not readable as CIF"),
        (
            structure().to(fmt="cif") + structure(4.0).to(fmt="cif").replace("data_", "data_2"),
            "2 structures: expected one",
        ),
        ([1, 2], r"the structure has \[1, 2\]: expected CIF text"),
        ({"a": 1}, r"the structure has keys \['a'\]"),
        ({"lattice": 1, "sites": []}, "not as pymatgen writes them"),
        ({"lattice": {"matrix": CELL}, "sites": [1]}, "not as pymatgen writes them"),
        ({"lattice": {"matrix": CELL}, "sites": [{}]}, "a site without species"),
        ({"lattice": {"matrix": CELL}, "sites": []}, "abc is"),
        ({"lattice": {"matrix": CELL}, "sites": [{"species": [{"element": "H", "occu": 1}]}]}, r"abc is \[None\]"),
        ({"lattice": {"matrix": CELL, "pbc": [True, True]}, "sites": []}, "pbc is"),
        ({**structure().as_dict(), "lattice": {"matrix": CELL, "pbc": [True, False, True]}}, "is supported"),
        (Structure(CELL, ["X"], [[0, 0, 0]]).as_dict(), "'X' is no element"),
    ],
)
def test_bad_structures(tmp_path, made, message):
    path = written(tmp_path / "a.json", [{"material_id": "mp-1", "structure": made, "band_gap": 1.0}])
    refused(path, f"entry 0: .*{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "nested too deeply") for text in HOSTILE),
        ("", "is empty; expected a JSON list"),
        ("   \n", "is empty"),
        ("id,value\n", "starts with 'id,value.*'; expected a JSON list"),
        ("[1, 2", "not valid JSON"),
        ("[1] 2", "not valid JSON: Extra data"),
        ("[]", "the files hold none"),
        ("[1]", "entry 0: is 1; expected a mapping"),
        ('{"a": 1}', r"a mapping with the keys \['a'\]"),
        ('{"columns": 1, "data": []}', "a table without a list of columns"),
        ('{"columns": ["a"], "data": [1]}', "entry 0: 1; expected 1 columns"),
        ('[{"band_gap": ' + "1" * 5000 + "}]", "a number too long"),
        ('[{"band_gap": 1.0}]', "of 1, left out: 1 no structure"),
        ('[{"band_gap": "na"}]', "of 1, left out: 1 no value"),
        ('[{"x": {"y": []}}]', "the entries hold no numbers"),
    ],
    ids=range(17),
)
def test_bad_json(tmp_path, text, message):
    refused(written(tmp_path / "a.json", text), message)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    refused(tmp_path / "none.json", "no such file")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "a folder without id_prop.csv")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([jarvis_row()]))
    refused(tmp_path / "a.pkl", "is no text .*pickles are not read")
    packed = gzip.compress(json.dumps([jarvis_row()]).encode())
    (tmp_path / "cut.json.gz").write_bytes(packed[:-20])
    refused(tmp_path / "cut.json.gz", "cannot be read")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    refused(tmp_path / "cut.zip", "cannot be read")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.json", "[]")
        archive.writestr("b.json", "[]")
    refused(tmp_path / "two.zip", r"holds 2 JSON files, \['a.json', 'b.json'\]; expected one")
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b"[" + b" " * 10**6))
    monkeypatch.setattr(property_files, "LARGEST", 10**5)
    refused(tmp_path / "bomb.json.gz", "holds more than .* GiB; split it")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": ""}, "target name ''"),
        ({"name": "a..b"}, "target name 'a..b'"),
        ({"name": 3}, "target name 3"),
        ({"name": "a", "unit": 1}, "target unit 1: expected text"),
        ({"name": "a", "extensive": "yes"}, "target extensive 'yes': expected true or false"),
        ({"name": "a", "log10": 1}, "target log10 1: expected true or false"),
    ],
)
def test_bad_targets(given, message):
    with pytest.raises(PropertyError, match=message):
        Target(**given)
