"""Labelled frames by others: units and signs kept, a stated protocol on every frame, a bad frame named."""

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_argonaut.mlip.dataset import Dataset, DatasetError, import_frames, protocol_hash_of
from aiida_argonaut.mlip.foreign import read_labelled
from aiida_argonaut.mlip.frames import FrameError, write_frames

PBE = {"code": "vasp 6.4", "functional": "PBE"}


def atoms(seed=0, symbols="LiH", pbc=True, **results):
    random = np.random.default_rng(seed)
    made = ase.Atoms(symbols, positions=4 * random.random((2, 3)), cell=4 * np.eye(3), pbc=pbc)
    given = {"energy": -5.0 + seed, "forces": random.normal(size=(2, 3)), **results}
    made.calc = SinglePointCalculator(made, **{key: value for key, value in given.items() if value is not None})
    return made


def written(path, *frames):
    ase.io.write(path, list(frames), format="extxyz")
    return path


def test_frames_are_stamped_with_the_stated_protocol(tmp_path):
    stress = np.arange(6) * 0.01
    frames = [atoms(0, stress=stress), atoms(1, free_energy=-9.0), atoms(0, stress=stress)]
    path = written(tmp_path / "vasp.extxyz", *frames)
    dataset = import_frames(path, PBE)
    assert len(dataset) == 2
    assert (dataset.protocol, dataset.protocol_hash) == (PBE, protocol_hash_of(PBE))
    assert [frame.configuration.origin.source for frame in dataset.frames] == ["user", "user"]
    assert dataset.frames[0].stress[1, 2] == pytest.approx(0.03)
    assert [frame.energy for frame in dataset.frames] == [-5.0, -9.0]
    with pytest.raises(DatasetError, match=r"vasp\.extxyz, frame 0: carries no protocol_hash"):
        import_frames(path)


def test_what_was_imported_is_imported_again(tmp_path):
    dataset = import_frames(written(tmp_path / "a.extxyz", atoms(0), atoms(1)), PBE)
    dataset.save(tmp_path / "folder")
    write_frames(tmp_path / "b.extxyz", dataset.frames)
    for path, protocol in ((tmp_path / "folder", PBE), (tmp_path / "b.extxyz", {})):
        assert import_frames(path, PBE).content_hash == dataset.content_hash
        assert import_frames(path).content_hash == dataset.content_hash
        assert import_frames(path).protocol == protocol
        with pytest.raises(DatasetError, match=r"frame 0: carries the protocol_hash p.* the stated protocol has p"):
            import_frames(path, {**PBE, "functional": "LDA"})


def test_frames_of_two_protocols_are_refused(tmp_path):
    one, two = (import_frames(written(tmp_path / "x.extxyz", atoms(k)), {**PBE, "k": k}) for k in (1, 2))
    write_frames(tmp_path / "both.extxyz", [*one.frames, *two.frames])
    with pytest.raises(DatasetError, match=r"both\.extxyz, frame 1: carries .* frame 0 has p"):
        import_frames(tmp_path / "both.extxyz")


def test_a_virial_becomes_a_stress(tmp_path):
    frame = atoms()
    frame.info["virial"] = np.diag([6.4, 12.8, 64.0])
    molecule = atoms(pbc=False)
    molecule.info["virial"] = np.eye(3)
    periodic, isolated = read_labelled(written(tmp_path / "quip.extxyz", frame, molecule))
    assert periodic.stress == pytest.approx(-np.diag([0.1, 0.2, 1.0]))
    assert isolated.stress is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: atoms(symbols="HFe"), r"x\.extxyz, frame 1: HFe: Fe is outside H-Ar"),
        (lambda: atoms(pbc=(True, True, False)), r"x\.extxyz, frame 1: pbc"),
        (lambda: atoms(energy=np.nan), r"x\.extxyz, frame 1: energy, forces or stress hold NaN"),
        (lambda: atoms(forces=None), r"frame 1: HLi: no forces; found energy"),
        (lambda: atoms(0, energy=3.0), r"frames 0 and 1: HLi: the same configuration with different labels"),
    ],
)
def test_a_bad_frame_is_named(tmp_path, bad, message):
    with pytest.raises(FrameError, match=message):
        read_labelled(written(tmp_path / "x.extxyz", atoms(), bad()))


def test_labels_under_other_names_are_named(tmp_path):
    mace = atoms(energy=None, forces=None)
    mace.calc = None
    mace.info["REF_energy"] = -3.0
    mace.arrays["REF_forces"] = np.zeros((2, 3))
    with pytest.raises(FrameError, match="no energy and no forces; found REF_energy, REF_forces: rename"):
        read_labelled(written(tmp_path / "mace.extxyz", mace))


def test_an_empty_dataset_folder_is_empty(tmp_path):
    Dataset(()).save(tmp_path / "none")
    assert len(import_frames(tmp_path / "none", PBE)) == 0
