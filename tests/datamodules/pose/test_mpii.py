import json
import os
from pathlib import Path

import numpy as np
import pytest
from fakes import mpii_person, structs, write_mpii, write_mpii_json

from datamodules import LSP_SKELETON, MPII_SKELETON, LSPDataModule, MPIIDataModule
from datamodules.pose.mpii_annotations import read_mpii_json, read_mpii_mat

DATA_ROOT = os.environ.get("DATA_ROOT")
real = pytest.mark.skipif(DATA_ROOT is None, reason="DATA_ROOT does not name the folder of mpii_mini")
other_split = pytest.mark.filterwarnings("ignore:.*the split of Tompson et al.*:UserWarning")


def read(tmp_path, **people):
    return read_mpii_mat(write_mpii(tmp_path, {f"{name}.jpg": list(group) for name, group in people.items()}))


def points(person):
    return {int(p["id"]): (p["x"] - 1, p["y"] - 1) for p in person["annopoints"][0, 0]["point"][0]}


def test_a_person_is_read_as_written(tmp_path):
    person = mpii_person(joints=14)
    [found] = read(tmp_path, a=[person])
    assert found.image == "a.jpg"
    assert found.visible.sum() == 14
    assert set(np.flatnonzero(found.visible)) == set(points(person))
    for k, place in points(person).items():
        np.testing.assert_allclose(found.joints[k], place)
    assert found.centre.tolist() == [89, 74]
    assert found.scale == 0.48
    assert found.head == pytest.approx(0.6 * np.hypot(12, 16))


def test_occluded_joints_are_labelled_whatever_tells_it(tmp_path):
    for value in (0, 1, "0", "1", np.empty((0, 0))):
        person = mpii_person()
        for point in person["annopoints"][0, 0]["point"][0]:
            point["is_visible"] = value
        assert read(tmp_path, a=[person])[0].visible.all()
    bare = mpii_person()
    bare["annopoints"] = structs({"point": structs(*({"x": 9.0, "y": 8.0, "id": k} for k in range(16)))})
    assert read(tmp_path, a=[bare])[0].visible.all()


def test_single_structs_and_several_people(tmp_path):
    one_point = mpii_person(joints=1)
    found = read(tmp_path, a=[one_point], b=[mpii_person(1), mpii_person(2)], c=[])
    assert [(a.image, a.visible.sum()) for a in found] == [("a.jpg", 1), ("b.jpg", 16), ("b.jpg", 16)]


def test_test_images_are_left_out_silently(tmp_path):
    path = write_mpii(tmp_path, {"a.jpg": [mpii_person()], "b.jpg": [{"scale": 1.0}]}, test_images=("b.jpg",))
    assert [a.image for a in read_mpii_mat(path)] == ["a.jpg"]


@pytest.mark.parametrize(
    ("lacking", "part"),
    [("annopoints", "joints"), ("scale", "scale"), ("objpos", "position"), ("x1", "head box"), ("y2", "head box")],
)
@pytest.mark.parametrize("others", [[], [mpii_person(1)]], ids=["absent", "empty"])
def test_people_who_lack_something_are_left_out_and_counted(tmp_path, lacking, part, others):
    person = mpii_person()
    del person[lacking]  # beside a person who has it the field exists, but is empty
    message = rf"u12_1.mat: left out 1 of {1 + len(others)} people \(1 without {part}\)"
    with pytest.warns(UserWarning, match=message):
        assert len(read(tmp_path, a=[person, *others])) == len(others)


def test_reasons_are_counted_in_one_warning(tmp_path):
    people = [mpii_person(n) for n in range(4)]
    del people[0]["scale"], people[1]["scale"], people[2]["annopoints"]
    with pytest.warns(UserWarning, match=r"left out 3 of 4 people \(1 without joints, 2 without scale\)") as caught:
        read(tmp_path, a=people)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "change", [{"id": 16}, {"id": -1}, {"id": 3}, {"x": np.empty((0, 0))}, {"id": np.empty((0, 0))}]
)
def test_a_wrong_joint_is_named(tmp_path, change):
    person = mpii_person(5)
    array = person["annopoints"][0, 0]["point"][0]
    row = next(n for n, point in enumerate(array) if point["id"] != 3)
    for field, value in change.items():
        array[row][field] = value
    with pytest.raises(ValueError, match=r"u12_1.mat: b.jpg, person 2 has a joint without position, or"):
        read(tmp_path, a=[mpii_person()], b=[mpii_person(), person])


@other_split
def test_a_joint_that_is_not_finite_is_named(tmp_path):
    person = mpii_person()
    person["annopoints"][0, 0]["point"][0][3]["y"] = np.nan
    write_mpii(tmp_path, {"a.jpg": [mpii_person()], "b.jpg": [person]})
    with pytest.raises(ValueError, match=r"b.jpg, person 1 has a labelled joint that is not finite"):
        MPIIDataModule(tmp_path).setup()


def test_other_files_are_named(tmp_path):
    path = write_mpii(tmp_path, {"a.jpg": [mpii_person()]})
    whole = path.read_bytes()
    for content in b"", b"no mat", whole[:400]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"u12_1.mat(' cannot be read as .mat| has no variable)"):
            read_mpii_mat(path)
    from scipy.io import savemat

    savemat(path, {"RELEASE": structs({"version": "12"})}, do_compression=True)
    with pytest.raises(ValueError, match=r"RELEASE in .* is not laid out like MPII's"):
        read_mpii_mat(path)


def test_json_is_read_as_written(tmp_path):
    records = write_mpii_json(tmp_path, {"train": 4})["train"]
    found = read_mpii_json(tmp_path / "annot" / "train.json")
    assert len(found) == 4
    for record, annotation in zip(records, found, strict=True):
        seen = np.array(record["joints_vis"], bool)
        assert np.array_equal(annotation.visible, seen)
        np.testing.assert_allclose(annotation.joints[seen], np.array(record["joints"])[seen] - 1)
        assert annotation.centre.tolist() == [89, 74]
        assert annotation.head == 25 * record["scale"]


@pytest.mark.parametrize(
    ("change", "part"),
    [({"joints_vis": [0] * 16}, "joints"), ({"scale": -1}, "scale"), ({"center": [-1, -1]}, "position")],
)
def test_json_records_that_lack_something(tmp_path, change, part):
    records = write_mpii_json(tmp_path, {"train": 2})["train"]
    path = tmp_path / "annot" / "train.json"
    path.write_text(json.dumps([records[0], records[1] | change]))
    with pytest.warns(UserWarning, match=rf"train.json: left out 1 of 2 people \(1 without {part}\)"):
        assert len(read_mpii_json(path)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": [[1, 2]] * 14}, r"record 1 has \(14, 2\) joints with \(16,\) flags"),
        ({"joints": None}, "record 1"),
        ({"joints": [[1, 2]] * 15 + [[1]]}, "record 1 is not laid out"),
        ({"image": 7}, "record 1"),
        ({"scale": "wide"}, "record 1 is not laid out"),
        ({"center": [1]}, "record 1"),
    ],
)
def test_bad_json_records_are_named(tmp_path, change, message):
    records = write_mpii_json(tmp_path, {"train": 2})["train"]
    path = tmp_path / "annot" / "train.json"
    path.write_text(json.dumps([records[0], records[1] | change]))
    with pytest.raises(ValueError, match=rf"train.json: {message}"):
        read_mpii_json(path)


def test_bad_json_files_are_named(tmp_path):
    path = tmp_path / "train.json"
    with pytest.raises(FileNotFoundError, match=r"train.json is missing"):
        read_mpii_json(path)
    for content, message in (
        ("", "damaged or no JSON"),
        ("[{", "damaged or no JSON"),
        ("{}", "holds no list"),
        ("[3]", "record 0"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_mpii_json(path)


@other_split
def test_json_splits_and_dots(tmp_path):
    write_mpii_json(tmp_path, {"train": 5, "valid": 3})
    data = MPIIDataModule(tmp_path, input_size=64, augmentation=None, batch_size=3)
    assert {split: len(data.people(split)) for split in ("train", "val", "test")} == {"train": 5, "val": 3, "test": 3}
    assert data.people("val").skeleton is MPII_SKELETON
    for batch in (*data.train_dataloader(), *data.val_dataloader()):
        for image, joints in zip(batch["image"], batch["joints"].numpy(), strict=True):
            v, u = np.divmod(int(image[0].argmax()), 64)
            assert np.abs(joints[9] - (u, v)).max() < 1
    np.testing.assert_allclose(batch["size"], 25 * 64 / 250, rtol=1e-5)
    assert len(list(data.test_dataloader())) == 1


@other_split
def test_mat_splits(tmp_path):
    write_mpii(tmp_path, {f"{n}.jpg": [mpii_person(n), mpii_person(n + 50)] for n in range(6)})
    assert len(MPIIDataModule(tmp_path).people("train")) == 12
    data = MPIIDataModule(tmp_path, val_size=2)
    train, val = (
        {name.split(": ")[1].split(",")[0] for name in data.people(split).names} for split in ("train", "val")
    )
    assert len(val) == 2
    assert len(data.people("val")) == 4
    assert train | val == {f"{n}.jpg" for n in range(6)}
    assert not train & val
    listed = tmp_path / "val.txt"
    records = tmp_path / "valid.json"
    listed.write_text("1.jpg\n4.jpg\nelsewhere.jpg\n")
    records.write_text(json.dumps([{"image": "1.jpg"}, {"image": "4.jpg"}, {"image": "4.jpg"}]))
    for file in listed, records:
        data = MPIIDataModule(tmp_path, val_images=file)
        assert [name.split(": ")[1] for name in data.people("val").names] == [
            f"{n}.jpg, person {r}" for n in (1, 4) for r in (1, 2)
        ]
        assert len(data.people("train")) == 8


@other_split
def test_without_validation_there_is_no_test(tmp_path):
    write_mpii(tmp_path, {"a.jpg": [mpii_person()]})
    data = MPIIDataModule(tmp_path)
    assert data.val_dataloader() == []
    with pytest.raises(ValueError, match=r"there are no test samples, only \['train'\]"):
        data.test_dataloader()


def test_counts_that_are_not_the_official_ones_are_told(tmp_path, monkeypatch):
    write_mpii_json(tmp_path, {"train": 3, "valid": 2})
    with pytest.warns(UserWarning, match=r"has {'train': 3, 'val': 2} people; .* {'train': 22246, 'val': 2958}"):
        MPIIDataModule(tmp_path).setup()
    monkeypatch.setattr("datamodules.pose.mpii.OFFICIAL_COUNTS", {"train": 3, "val": 2})
    MPIIDataModule(tmp_path).setup()  # a warning would be an error


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="val_size is -1; pass"):
        MPIIDataModule(tmp_path, val_size=-1)
    with pytest.raises(ValueError, match=r"val_images is list.txt and val_size is 3; pass one"):
        MPIIDataModule(tmp_path, val_images="list.txt", val_size=3)
    with pytest.raises(FileNotFoundError, match=r"has neither .*train.json nor .*u12_1.mat"):
        MPIIDataModule(tmp_path).setup()
    write_mpii(tmp_path, {"a.jpg": [mpii_person()]})
    with pytest.raises(ValueError, match="val_size is 1, but .* has 1 images"):
        MPIIDataModule(tmp_path, val_size=1).setup()
    with pytest.raises(FileNotFoundError, match="val_images is .*absent.txt, which is missing"):
        MPIIDataModule(tmp_path, val_images=tmp_path / "absent.txt").setup()
    for content, message in ("x.jpg", "names none of the 1"), ('{"a": [', "is no list"), ("[{}]", "is no list"):
        path = tmp_path / ("list.txt" if content == "x.jpg" else "list.json")
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            MPIIDataModule(tmp_path, val_images=path).setup()
    write_mpii_json(tmp_path, {"train": 1, "valid": 1})
    with pytest.raises(ValueError, match=r"valid.json tells who is for validation"):
        MPIIDataModule(tmp_path, val_size=1).setup()


@other_split
def test_a_list_of_all_images_leaves_nobody_to_train_on(tmp_path):
    write_mpii(tmp_path, {"a.jpg": [mpii_person()]})
    (tmp_path / "list.txt").write_text("a.jpg")
    with pytest.raises(ValueError, match="leaves nobody to train on"):
        MPIIDataModule(tmp_path, val_images=tmp_path / "list.txt").setup()


@other_split
def test_missing_images_are_named(tmp_path):
    write_mpii(tmp_path, {"a.jpg": [mpii_person()]})
    (tmp_path / "images" / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"the first of them .*images/a.jpg"):
        MPIIDataModule(tmp_path).setup()


@real
@other_split
def test_real_people():
    data = MPIIDataModule(Path(DATA_ROOT) / "mpii_mini")
    people = data.people("train")
    assert len(people) == 5
    np.testing.assert_allclose(people.sizes, people.boxes[:, 2] / 250 * 25, atol=1e-4)
    assert sorted(people.visible.sum(1)) == [14, 14, 16, 16, 16]
    batch = next(iter(data.train_dataloader()))
    assert batch["joints"].shape == (5, 16, 2)
    mixed = LSPDataModule(DATA_ROOT, extended=False, val_size=100, also=[data])
    assert len(mixed.people("train")) == 905
    assert mixed.people("train").skeleton is LSP_SKELETON
