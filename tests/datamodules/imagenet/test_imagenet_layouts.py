"""How ImageNet may lie on the disk, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import WNIDS, coloured_jpeg, packed, structs, write_files, write_imagenet, write_validation_classes
from scipy.io import savemat

from datamodules.files.photos import decode_photo
from datamodules.imagenet.layouts import find_images

LAYOUTS = ["folders", "tiny", "tars", "devkit"]


def labels_shown(files):
    """What the colours of the photos say."""
    photos = [decode_photo(files.read(i), files.path(i)) for i in range(len(files))]
    return [int(photo.mean((0, 1)).argmax()) for photo in photos]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_same_images_and_labels(tmp_path, layout):
    names, train, val = find_images(write_imagenet(tmp_path / layout, layout))
    reference = find_images(write_imagenet(tmp_path / "reference"))
    assert names == WNIDS
    for found, expected, count in (train, reference[1], 12), (val, reference[2], 6):
        assert len(found) == count
        assert found.labels.tolist() == expected.labels.tolist() == labels_shown(found)
        assert [found.read(i) for i in range(count)] == [expected.read(i) for i in range(count)]


def test_validation_images_out_of_their_tar(tmp_path):
    root = write_imagenet(tmp_path, "tars")
    shutil.unpack_archive(root / "ILSVRC2012_img_val.tar", root / "val", "tar", filter="data")
    _, _, val = find_images(root)
    assert val.source == root / "val"
    assert val.labels.tolist() == labels_shown(val)


def test_paths_name_the_tar_and_the_class(tmp_path):
    _, train, val = find_images(write_imagenet(tmp_path, "tars"))
    place = tmp_path / "ILSVRC2012_img_train.tar" / f"{WNIDS[1]}.tar" / f"{WNIDS[1]}_2.JPEG"
    assert train.path(6) == place
    assert val.path(0).name.startswith("ILSVRC2012_val_0000")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("classes", "expected"), [(2, WNIDS[:2]), ([WNIDS[2], WNIDS[0]], [WNIDS[2], WNIDS[0]])])
def test_some_classes(tmp_path, layout, classes, expected):
    names, train, val = find_images(write_imagenet(tmp_path, layout), classes)
    assert names == expected
    for files, count in (train, 4), (val, 2):
        assert files.labels.tolist() == [0] * count + [1] * count
        assert labels_shown(files) == [WNIDS.index(expected[label]) for label in files.labels]


@pytest.mark.parametrize("classes", [0, 4, [], ["n1"], [WNIDS[0], WNIDS[0]]])
def test_classes_that_are_not_there(tmp_path, classes):
    with pytest.raises(ValueError, match=r"classes is .*; pass"):
        find_images(write_imagenet(tmp_path), classes)


def test_other_files_are_passed_over(tmp_path):
    root = write_imagenet(tmp_path)
    write_files(
        root / "train", {".DS_Store": b"", "notes.txt": b"", f"{WNIDS[0]}/boxes.txt": b"", ".hidden/a.JPEG": b""}
    )
    names, train, _ = find_images(root)
    assert (names, len(train)) == (WNIDS, 12)


def test_only_training_images(tmp_path):
    root = write_imagenet(tmp_path)
    shutil.rmtree(root / "val")
    assert find_images(root)[2] is None


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path} holds neither train/<class>/\*.JPEG nor ILSVRC2012"):
        find_images(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="train holds no classes; put"):
        find_images(tmp_path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_class_is_named(tmp_path, split):
    folder = write_imagenet(tmp_path) / split / WNIDS[1]
    for path in folder.iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(ValueError, match=rf"{folder} holds no images .*; fill or remove it"):
        find_images(tmp_path)
    assert find_images(tmp_path, [WNIDS[0]])[0] == [WNIDS[0]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_class_in_validation_alone_is_named(tmp_path, layout):
    root = write_imagenet(tmp_path, layout)
    if layout in ("folders", "tiny"):
        shutil.rmtree(root / "train" / WNIDS[2])
    else:
        _, train, _ = find_images(root)
        parts = {f"{wnid}.tar": packed({f"{wnid}.JPEG": train.read(0)}) for wnid in WNIDS[:2]}
        (root / "ILSVRC2012_img_train.tar").write_bytes(packed(parts))
    with pytest.raises(ValueError, match=rf"has the class {WNIDS[2]}, which .*train.* lacks"):
        find_images(root)


def test_validation_images_of_no_chosen_class(tmp_path):
    root = write_imagenet(tmp_path)
    shutil.rmtree(root / "val" / WNIDS[0])
    assert len(find_images(root)[2]) == 4
    with pytest.raises(ValueError, match="has no images of the classes"):
        find_images(root, 1)


@pytest.mark.parametrize("name", ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_cut_off_tars(tmp_path, name, share):
    path = write_imagenet(tmp_path, "tars") / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(
        ValueError, match=rf"{name} .*(damaged or another file|holds no classes)|6 lines for . validation"
    ):
        find_images(tmp_path)


def test_a_part_without_an_end_does_not_run_into_the_next(tmp_path):
    root = write_imagenet(tmp_path, "tars")
    path = root / "ILSVRC2012_img_train.tar"
    raw = coloured_jpeg(0, 0, 8, 8)
    whole = packed({"a.JPEG": raw})
    cut = whole[: 512 + -(-len(raw) // 512) * 512]  # without the empty blocks at the end
    path.write_bytes(packed({f"{wnid}.tar": cut for wnid in WNIDS}))
    with pytest.raises(ValueError, match=rf"{path} is damaged .*{WNIDS[0]}.tar/{WNIDS[1]}.tar is cut off"):
        find_images(root)


def test_a_training_tar_of_images(tmp_path):
    root = write_imagenet(tmp_path, "tars")
    shutil.copy(root / "ILSVRC2012_img_val.tar", root / "ILSVRC2012_img_train.tar")
    with pytest.raises(
        ValueError, match=r"ILSVRC2012_img_train.tar .*holds ILSVRC2012_val_00000006.JPEG, not a tar for"
    ):
        find_images(root)


def test_classes_of_numbered_images(tmp_path):
    root = write_imagenet(tmp_path, "tars")
    labels = root / "imagenet_2012_validation_synset_labels.txt"
    labels.write_text(f"{WNIDS[0]}\n" * 5)
    with pytest.raises(ValueError, match=rf"{labels} has 5 lines for 6 validation images"):
        find_images(root)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match=rf"put {labels} there, or .*ground_truth.txt with meta.mat"):
        find_images(root)
    write_validation_classes(root, WNIDS * 2, devkit=True)
    truth = root / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("7\n" * 5 + "8\n")
    with pytest.raises(ValueError, match=rf"{truth} has the number 8, which meta.mat lacks"):
        find_images(root)


@pytest.mark.parametrize(
    "synsets", [3, structs({"WNID": WNIDS[0]}), structs({"ILSVRC2012_ID": "one", "WNID": WNIDS[0]})], ids=str
)
def test_another_meta_mat_is_named(tmp_path, synsets):
    root = write_imagenet(tmp_path, "devkit")
    meta = root / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"
    savemat(meta, {"synsets": np.tile(synsets, (2, 1))}, do_compression=True)
    with pytest.raises(ValueError, match=rf"synsets in {meta} is not laid out like ImageNet's: .*; take the official"):
        find_images(root)


@pytest.mark.parametrize("line", ["val_99.JPEG\tn01440764\t0", "val_0.JPEG", ""])
def test_lines_of_tiny_imagenets_annotations(tmp_path, line):
    path = write_imagenet(tmp_path, "tiny") / "val" / "val_annotations.txt"
    path.write_text(f"{path.read_text().splitlines()[0]}\n{line}\n")
    with pytest.raises(ValueError, match=rf"{path}, line 2: .* names no class, or no image of"):
        find_images(tmp_path)


def test_names_take_no_more_than_their_bytes(tmp_path):
    _, train, _ = find_images(write_imagenet(tmp_path))
    assert train.names.dtype == np.dtype(f"S{len(f'{WNIDS[0]}/{WNIDS[0]}_0.JPEG')}")
    assert isinstance(train.path(0), Path)
