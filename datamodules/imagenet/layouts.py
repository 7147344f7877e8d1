"""Where the images of ImageNet, of its parts and of Tiny ImageNet lie, and of which class each one is."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from ..files.image_files import Image, ImageFiles, image_files
from ..files.matlab import read_mat

SUFFIXES = {".jpeg", ".jpg", ".png"}
TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
SYNSET_LABELS = "imagenet_2012_validation_synset_labels.txt"
DEVKIT = Path("ILSVRC2012_devkit_t12", "data")
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"

Found = dict[str, list[Image]]


def find_images(
    root: Path, classes: Sequence[str] | int | None = None
) -> tuple[list[str], ImageFiles, ImageFiles | None]:
    """The names of the classes, training images, and validation images, if there are any.

    The layouts are told apart by what is in `root`: `train/<class>/*.JPEG` and `val/<class>/*.JPEG`; Tiny ImageNet's
    `train/<class>/images/*.JPEG`, and `val/images/*.JPEG` with `val/val_annotations.txt`; the official
    `ILSVRC2012_img_train.tar`, which is read without unpacking it, and `ILSVRC2012_img_val.tar` or its images in
    `val/`, with the classes of its images in `imagenet_2012_validation_synset_labels.txt`, one a line, or in the
    official folder `ILSVRC2012_devkit_t12`.

    Args:
        root: the data set's folder.
        classes: which classes, in the order of their labels, or how many; None for all, ordered by name.

    Raises:
        FileNotFoundError: something is missing.
        ValueError: a class is unknown, empty or in the validation images alone, or a file is damaged.
    """
    packed = not (root / "train").is_dir()
    place = root / TRAIN_TAR if packed else root / "train"
    if not place.exists():
        raise FileNotFoundError(f"{root} holds neither train/<class>/*.JPEG nor {TRAIN_TAR}; put one of them there")
    train = _train_tar(place) if packed else _folders(place)
    names = _chosen(sorted(train), classes, place)
    found = _validation(root)
    if found is None:
        return names, _files(place, names, train), None
    place_of_val, val = found
    if alone := sorted(val.keys() - train.keys()):
        raise ValueError(f"{place_of_val} has the class {alone[0]}, which {place} lacks; add its training images")
    if not any(val.get(name) for name in names):
        raise ValueError(f"{place_of_val} has no images of the classes {names}; add some, or remove {place_of_val}")
    return names, _files(place, names, train), _files(place_of_val, names, val)


def _files(place: Path, names: Sequence[str], found: Found) -> ImageFiles:
    for name in names:
        if not found.get(name, True):
            raise ValueError(f"{place / name} holds no images ({', '.join(sorted(SUFFIXES))}); fill or remove it")
    return image_files(place, [found.get(name, []) for name in names])


def _chosen(known: list[str], classes: Sequence[str] | int | None, place: Path) -> list[str]:
    if not known:
        raise ValueError(f"{place} holds no classes; put a folder of images there for each class")
    if classes is None:
        return known
    if isinstance(classes, int):
        if not 1 <= classes <= len(known):
            raise ValueError(f"classes is {classes}, but {place} has {len(known)}; pass a number from 1 to that")
        return known[:classes]
    unknown = [name for name in classes if name not in known]
    if unknown or not classes or len(set(classes)) < len(classes):
        raise ValueError(
            f"classes is {list(classes)}; pass different ones of the {len(known)} in {place}: {known[:5]}..."
        )
    return list(classes)


def _folders(folder: Path) -> Found:
    found: Found = {}
    for name in _names(folder):
        if (folder / name).is_dir():
            inner = f"{name}/images" if (folder / name / "images").is_dir() else name
            found[name] = [(f"{inner}/{image}", None) for image in _images(folder / inner)]
    return found


def _names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def _images(folder: Path) -> list[str]:
    return [name for name in _names(folder) if Path(name).suffix.lower() in SUFFIXES]


def _train_tar(path: Path) -> Found:
    """Of a tar of one tar a class."""
    found: Found = {}
    try:
        with tarfile.open(path, "r:") as outer, path.open("rb") as file:
            for part in outer:
                if not part.isfile():
                    continue
                if not part.name.endswith(".tar"):
                    raise tarfile.ReadError(f"it holds {part.name}, not a tar for each class")
                file.seek(part.offset_data)
                with tarfile.open(fileobj=file, mode="r:") as inner:
                    name = Path(part.name).stem
                    found[name] = list(_members(inner, f"{part.name}/", part.offset_data + part.size))
    except tarfile.TarError as error:
        raise ValueError(f"{path} is damaged or another file: {error}; take the official one") from error
    return found


def _members(tar: tarfile.TarFile, folder: str, end: int) -> Iterator[Image]:
    for member in tar:
        if member.isfile():
            if member.offset_data + member.size > end:
                raise tarfile.ReadError(f"{folder}{member.name} is cut off")
            yield folder + member.name, (member.offset_data, member.size)


def _validation(root: Path) -> tuple[Path, Found] | None:
    folder, tar = root / "val", root / VAL_TAR
    if (folder / "val_annotations.txt").is_file():
        return folder, _tiny(folder)
    if folder.is_dir() and (images := _images(folder)):
        return folder, _by_number(root, [(name, None) for name in images])
    if folder.is_dir():
        return folder, _folders(folder)
    if not tar.is_file():
        return None
    try:
        with tarfile.open(tar, "r:") as members:
            packed = sorted(_members(members, "", tar.stat().st_size), key=itemgetter(0))
    except tarfile.TarError as error:
        raise ValueError(f"{tar} is damaged or another file: {error}; take the official one") from error
    return tar, _by_number(root, packed)


def _tiny(folder: Path) -> Found:
    annotations, found, images = folder / "val_annotations.txt", Found(), set(_images(folder / "images"))
    for number, line in enumerate(annotations.read_text().splitlines(), 1):
        name, _, rest = line.partition("\t")
        label = rest.split("\t")[0].strip()
        if not label or name not in images:
            raise ValueError(
                f"{annotations}, line {number}: {line!r} names no class, or no image of {folder / 'images'}; "
                "take the data set's own file, and all of its images"
            )
        found.setdefault(label, []).append((f"images/{name}", None))
    return found


def _by_number(root: Path, images: Sequence[Image]) -> Found:
    """Images whose classes are the lines of another file, in the order of their names."""
    path, labels = _labels(root)
    if len(labels) != len(images):
        raise ValueError(f"{path} has {len(labels)} lines for {len(images)} validation images; take the whole ones")
    found: Found = {}
    for image, label in zip(images, labels, strict=True):
        found.setdefault(label, []).append(image)
    return found


def _labels(root: Path) -> tuple[Path, list[str]]:
    path, numbers = root / SYNSET_LABELS, root / DEVKIT / GROUND_TRUTH
    if path.is_file():
        return path, path.read_text().split()
    if not numbers.is_file():
        raise FileNotFoundError(f"the validation images have no classes; put {path} there, or {numbers} with meta.mat")
    synsets = read_mat(root / DEVKIT / "meta.mat", "synsets", squeeze_me=True, struct_as_record=False)
    names = {str(int(synset.ILSVRC2012_ID)): str(synset.WNID) for synset in synsets}
    labels = numbers.read_text().split()
    if unknown := sorted(set(labels) - names.keys()):
        raise ValueError(f"{numbers} has the number {unknown[0]}, which meta.mat lacks; take the official files")
    return numbers, [names[label] for label in labels]
