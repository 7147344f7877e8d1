"""Tiny data sets in the format of the real ones."""

import gzip
import io
import json
import shutil
import struct
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import savemat
from torch import Tensor


def write_idx(path: Path, data: Tensor) -> None:
    """Writes uint8 data as a gzipped idx file, like those of MNIST."""
    header = struct.pack(f">{1 + data.dim()}I", 2048 + data.dim(), *data.shape)
    path.write_bytes(gzip.compress(header + bytes(data.flatten().tolist()), mtime=0))


def write_mnist(root: Path, train: int = 64, test: int = 32, seed: int = 0) -> Path:
    """Writes noisy 28x28 images with a bright patch whose place tells the label; returns root."""
    generator = torch.Generator().manual_seed(seed)
    root.mkdir(parents=True, exist_ok=True)
    for prefix, count in ("train", train), ("t10k", test):
        labels = torch.randperm(count, generator=generator) % 10
        images = torch.randint(0, 64, (count, 28, 28), generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            row, column = divmod(label, 5)
            image[14 * row : 14 * row + 14, 5 * column : 5 * column + 5] += 190
        write_idx(root / f"{prefix}-images-idx3-ubyte.gz", images.byte())
        write_idx(root / f"{prefix}-labels-idx1-ubyte.gz", labels.byte())
    return root


def write_mat(path: Path, **variables: Any) -> None:
    """Writes variables compressed, as in all official files."""
    savemat(path, variables, do_compression=True)


def write_photo(path: Path, width: int, height: int, dot: NDArray[np.float64]) -> None:
    """Writes a dark, noisy image with one bright dot, at 0-based (x, y) px."""
    y, x = np.mgrid[:height, :width]
    grey = 215 * np.exp(-((x - dot[0]) ** 2 + (y - dot[1]) ** 2) / 8) + np.random.default_rng(width).uniform(
        0, 20, x.shape
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.repeat(grey[..., None], 3, 2).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 98])


def write_lsp(root: Path, count: int = 12, seed: int = 0) -> NDArray[np.float64]:
    """Writes root/lsp_dataset with a bright dot at each head top; returns the joints, 0-based (count, 14, 2)."""
    generator = np.random.default_rng(seed)
    joints, folder = np.empty((count, 14, 2)), root / "lsp_dataset"
    for n in range(count):
        width, height = generator.integers((50, 90), (90, 130)).tolist()
        joints[n] = generator.uniform(8, (width - 8, height - 8), (14, 2))
        write_photo(folder / "images" / f"im{n + 1:04d}.jpg", width, height, joints[n, 13])
    occluded = generator.random((count, 14, 1)) < 0.1
    savemat(
        folder / "joints.mat",
        {"joints": np.concatenate([joints + 1, occluded], 2).transpose(2, 1, 0)},
        do_compression=True,
    )
    return joints


def write_lspet(root: Path, count: int = 10, seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Writes root/lspet_dataset, dots as in `write_lsp`; returns 0-based joints and whether they are labelled."""
    generator = np.random.default_rng(seed)
    joints, folder = generator.uniform(10, (110, 130), (count, 14, 2)), root / "lspet_dataset"
    labelled = generator.random((count, 14)) < 0.8
    labelled[:, 13] = True
    for n in range(count):
        write_photo(folder / "images" / f"im{n + 1:05d}.jpg", 120, 140, joints[n, 13])
    junk = np.where(labelled[..., None], joints + 1, generator.uniform(-90, 0, joints.shape))
    savemat(
        folder / "joints.mat",
        {"joints": np.concatenate([junk, labelled[..., None]], 2).transpose(1, 2, 0)},
        do_compression=True,
    )
    return joints, labelled


def structs(*records: dict[str, Any]) -> NDArray[np.void]:
    """A MATLAB struct array, in which a field that a record lacks is empty."""
    fields = list(dict.fromkeys(field for record in records for field in record))
    array = np.empty((1, len(records)), [(field, object) for field in fields])
    for n, record in enumerate(records):
        array[0, n] = tuple(record.get(field, np.empty((0, 0))) for field in fields)
    return array


def mpii_person(seed: int = 0, joints: int = 16) -> dict[str, Any]:
    """A whole person as MPII's .mat stores it, in a 200x160 image; points come in any order, 1-based."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(16)[:joints].tolist()
    points = [
        {"x": x, "y": y, "id": k, "is_visible": seen}
        for k, (x, y), seen in zip(
            order, generator.uniform(20, 140, (joints, 2)), 8 * [1, "0", "1", np.empty((0, 0))], strict=False
        )
    ]
    centre = structs({"x": 90.0, "y": 75.0})
    rect = {"x1": 80.0, "y1": 30.0, "x2": 92.0, "y2": 46.0}
    return rect | {"annopoints": structs({"point": structs(*points)}), "scale": 0.48, "objpos": centre}


def write_mpii(root: Path, images: dict[str, list[dict[str, Any]]], test_images: tuple[str, ...] = ()) -> Path:
    """Writes images and the official .mat: the people of each image, which is for training unless named; returns it."""
    path = root / "mpii_human_pose_v1_u12_2" / "mpii_human_pose_v1_u12_1.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in images:
        write_photo(root / "images" / name, 200, 160, np.array([100.0, 80.0]))
    annotations = structs(
        *(
            {"image": structs({"name": name}), "annorect": structs(*people) if people else np.empty((0, 0))}
            for name, people in images.items()
        )
    )
    train = np.array([[name not in test_images for name in images]], np.uint8)
    savemat(
        path, {"RELEASE": structs({"annolist": annotations, "img_train": train, "version": "12"})}, do_compression=True
    )
    return path


def write_mpii_json(root: Path, counts: dict[str, int], seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Writes images and HRNet's root/annot/<name>.json with so many people, one an image; returns the records."""
    generator = np.random.default_rng(seed)
    files: dict[str, list[dict[str, Any]]] = {}
    for name, count in counts.items():
        files[name] = []
        for n in range(count):
            joints, labelled = generator.uniform(20, 140, (16, 2)), generator.random(16) < 0.8
            labelled[9] = True
            joints[~labelled] = -1
            image = f"{name}{n}.jpg"
            write_photo(root / "images" / image, 200, 160, joints[9] - 1)
            record = {"image": image, "center": [90.0, 75.0], "scale": 0.5 + 0.01 * n}
            files[name].append(record | {"joints": joints.tolist(), "joints_vis": labelled.astype(int).tolist()})
        path = root / "annot" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(files[name]))
    return files


def python2_pickle(value: Any) -> bytes:
    """Pickles dicts, lists, ints, strings and uint8 arrays as Python 2 and its numpy did, whose strings are bytes."""
    if isinstance(value, dict):
        return b"}(" + b"".join(python2_pickle(item) for pair in value.items() for item in pair) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(python2_pickle, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(python2_pickle, value)) + b"t"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, np.ndarray):
        array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + python2_pickle((0,)) + b"U\x01btR"
        dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        return (
            array + b"(K\x01" + python2_pickle(value.shape) + dtype + b"\x89" + python2_pickle(value.tobytes()) + b"tb"
        )
    raw = value.encode() if isinstance(value, str) else value
    return b"T" + struct.pack("<I", len(raw)) + raw


def cifar_batch(count: int, key: str, classes: int, seed: int) -> bytes:
    """A file of noisy images with a bright patch whose place and colour tell the label."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(count) % classes
    images = generator.integers(0, 64, (count, 3, 32, 32), np.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = divmod(label % 9, 3)
        image[label % 3, 10 * row : 10 * row + 10, 10 * column : 10 * column + 10] += 190
    content = {
        "data": images.reshape(count, 3072),
        key: labels.tolist(),
        "filenames": [f"{n}.png" for n in range(count)],
    }
    return b"\x80\x02" + python2_pickle(content) + b"."


def write_cifar10(root: Path, per_batch: int = 20, test: int = 30, *, archive: bool = False, seed: int = 0) -> Path:
    """Writes root/cifar-10-batches-py, or instead the archive of it; returns root."""
    sizes = {f"data_batch_{n}": per_batch for n in range(1, 6)} | {"test_batch": test}
    return _write_cifar(root, "cifar-10-batches-py", sizes, "labels", 10, archive=archive, seed=seed)


def write_cifar100(root: Path, train: int = 200, test: int = 100, *, archive: bool = False, seed: int = 0) -> Path:
    """Writes root/cifar-100-python, or instead the archive of it; returns root."""
    sizes = {"train": train, "test": test}
    return _write_cifar(root, "cifar-100-python", sizes, "fine_labels", 100, archive=archive, seed=seed)


def _write_cifar(
    root: Path, folder: str, sizes: dict[str, int], key: str, classes: int, *, archive: bool, seed: int
) -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for n, (name, size) in enumerate(sizes.items()):
        (root / folder / name).write_bytes(cifar_batch(size, key, classes, 100 * seed + n))
    if archive:
        with tarfile.open(
            root / f"{folder.removesuffix('-batches-py').removesuffix('-python')}-python.tar.gz", "w:gz"
        ) as tar:
            tar.add(root / folder, folder)
        shutil.rmtree(root / folder)
    return root


WNIDS = ["n01440764", "n02102040", "n02979186"]


def coloured_jpeg(label: int, number: int, width: int, height: int) -> bytes:
    """A noisy JPEG, bright in the channel (R, G, B) of its label, the brighter the greater its number."""
    noise = np.random.default_rng([label, number]).integers(0, 40, (height, width, 3), np.uint8)
    noise[..., 2 - label] += 100 + 10 * np.uint8(number)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def write_imagenet(root: Path, layout: str = "folders", train: int = 4, val: int = 2, px: int = 40) -> Path:
    """Writes a set of three classes in one of its layouts; returns root.

    Args:
        root: its folder.
        layout: "folders", "tiny", "tars" with the classes of validation images one a line, or "devkit", where
            they are numbers that meta.mat explains.
        train: training images per class.
        val: validation images per class.
        px: width of the images; they are a quarter higher.
    """
    root.mkdir(parents=True, exist_ok=True)
    inner = "images/" if layout == "tiny" else ""
    files = {
        split: {
            wnid: {f"{wnid}_{n}.JPEG": coloured_jpeg(k, start + n, px, px * 5 // 4) for n in range(count)}
            for k, wnid in enumerate(WNIDS)
        }
        for split, count, start in (("train", train, 0), ("val", val, train))
    }
    in_turn = [(wnid, list(files["val"][wnid].values())[n]) for n in range(val) for wnid in reversed(WNIDS)]
    if layout in ("folders", "tiny"):
        for wnid, images in files["train"].items():
            write_files(root / "train" / wnid, {f"{inner}{name}": raw for name, raw in images.items()})
    if layout == "folders":
        for wnid, images in files["val"].items():
            write_files(root / "val" / wnid, images)
    elif layout == "tiny":
        write_files(root / "val" / "images", {f"val_{n}.JPEG": raw for n, (_, raw) in enumerate(in_turn)})
        lines = [f"val_{n}.JPEG\t{wnid}\t0\t0\t9\t9\n" for n, (wnid, _) in enumerate(in_turn)]
        (root / "val" / "val_annotations.txt").write_text("".join(lines))
    else:
        parts = {f"{wnid}.tar": packed(images) for wnid, images in files["train"].items()}
        numbered = {f"ILSVRC2012_val_{n:08d}.JPEG": raw for n, (_, raw) in enumerate(in_turn, 1)}
        write_files(
            root, {"ILSVRC2012_img_train.tar": packed(parts), "ILSVRC2012_img_val.tar": packed(numbered, reverse=True)}
        )
        write_validation_classes(root, [wnid for wnid, _ in in_turn], devkit=layout == "devkit")
    return root


def write_validation_classes(root: Path, wnids: list[str], *, devkit: bool) -> None:
    """Writes the classes of numbered images: by name, or as the official development kit does."""
    if not devkit:
        (root / "imagenet_2012_validation_synset_labels.txt").write_text("".join(f"{wnid}\n" for wnid in wnids))
        return
    numbers = {wnid: 7 * (k + 1) for k, wnid in enumerate(reversed(WNIDS))}
    folder = root / "ILSVRC2012_devkit_t12" / "data"
    text = "".join(f"{numbers[wnid]}\n" for wnid in wnids).encode()
    write_files(folder, {"ILSVRC2012_validation_ground_truth.txt": text})
    synsets = structs(*({"ILSVRC2012_ID": number, "WNID": wnid} for wnid, number in numbers.items()))
    write_mat(folder / "meta.mat", synsets=synsets.T)


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Writes files below a folder."""
    for name, raw in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)


def packed(files: dict[str, bytes], *, reverse: bool = False) -> bytes:
    """A tar of files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in sorted(files, reverse=reverse):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            tar.addfile(member, io.BytesIO(files[name]))
    return archive.getvalue()
