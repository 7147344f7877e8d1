"""The layouts of ImageNet, of its parts and of Tiny ImageNet: where the images lie, and of which class each one is."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from ..files.image_files import ImageEntry, ImageFiles
from ..files.matlab import read_mat

SUFFIXES = {".jpeg", ".jpg", ".png"}
TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
SYNSET_LABELS = "imagenet_2012_validation_synset_labels.txt"
DEVKIT = Path("ILSVRC2012_devkit_t12", "data")
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"

ImagesByClass = dict[str, list[ImageEntry]]


def find_images(
    root: Path, classes: Sequence[str] | int | None = None
) -> tuple[list[str], ImageFiles, ImageFiles | None]:
    """Return the names of the classes, the training images, and the validation images, if there are any.

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
    train_source = root / TRAIN_TAR if packed else root / "train"
    if not train_source.exists():
        raise FileNotFoundError(f"{root} holds neither train/<class>/*.JPEG nor {TRAIN_TAR}; put one of them there")
    train = _read_train_tar(train_source) if packed else _list_class_folders(train_source)
    names = _select_classes(sorted(train), classes, train_source)
    validation = _find_validation(root)
    if validation is None:
        return names, _image_files(train_source, names, train), None
    val_source, val = validation
    if alone := sorted(val.keys() - train.keys()):
        raise ValueError(f"{val_source} has the class {alone[0]}, which {train_source} lacks; add its training images")
    if not any(val.get(name) for name in names):
        raise ValueError(f"{val_source} has no images of the classes {names}; add some, or remove {val_source}")
    return names, _image_files(train_source, names, train), _image_files(val_source, names, val)


def _image_files(source: Path, names: Sequence[str], images: ImagesByClass) -> ImageFiles:
    for name in names:
        if not images.get(name, True):
            raise ValueError(f"{source / name} holds no images ({', '.join(sorted(SUFFIXES))}); fill or remove it")
    return ImageFiles.of_classes(source, [images.get(name, []) for name in names])


def _select_classes(known: list[str], classes: Sequence[str] | int | None, source: Path) -> list[str]:
    if not known:
        raise ValueError(f"{source} holds no classes; put a folder of images there for each class")
    if classes is None:
        return known
    if isinstance(classes, int):
        if not 1 <= classes <= len(known):
            raise ValueError(f"classes is {classes}, but {source} has {len(known)}; pass a number from 1 to that")
        return known[:classes]
    unknown = [name for name in classes if name not in known]
    if unknown or not classes or len(set(classes)) < len(classes):
        raise ValueError(
            f"classes is {list(classes)}; pass different ones of the {len(known)} in {source}: {known[:5]}..."
        )
    return list(classes)


def _list_class_folders(folder: Path) -> ImagesByClass:
    images: ImagesByClass = {}
    for name in _list_visible(folder):
        if (folder / name).is_dir():
            inner = f"{name}/images" if (folder / name / "images").is_dir() else name
            images[name] = [(f"{inner}/{image}", None) for image in _list_images(folder / inner)]
    return images


def _list_visible(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def _list_images(folder: Path) -> list[str]:
    return [name for name in _list_visible(folder) if Path(name).suffix.lower() in SUFFIXES]


def _read_train_tar(path: Path) -> ImagesByClass:
    """Return the images of a tar that holds one tar for each class."""
    images: ImagesByClass = {}
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
                    images[name] = list(_read_members(inner, f"{part.name}/", part.offset_data + part.size))
    except tarfile.TarError as error:
        raise ValueError(f"{path} is damaged or another file: {error}; take the official one") from error
    return images


def _read_members(tar: tarfile.TarFile, folder: str, end: int) -> Iterator[ImageEntry]:
    for member in tar:
        if member.isfile():
            if member.offset_data + member.size > end:
                raise tarfile.ReadError(f"{folder}{member.name} is cut off")
            yield folder + member.name, (member.offset_data, member.size)


def _find_validation(root: Path) -> tuple[Path, ImagesByClass] | None:
    folder, tar = root / "val", root / VAL_TAR
    if (folder / "val_annotations.txt").is_file():
        return folder, _read_tiny_annotations(folder)
    if folder.is_dir() and (images := _list_images(folder)):
        return folder, _group_by_label(root, [(name, None) for name in images])
    if folder.is_dir():
        return folder, _list_class_folders(folder)
    if not tar.is_file():
        return None
    try:
        with tarfile.open(tar, "r:") as members:
            packed = sorted(_read_members(members, "", tar.stat().st_size), key=itemgetter(0))
    except tarfile.TarError as error:
        raise ValueError(f"{tar} is damaged or another file: {error}; take the official one") from error
    return tar, _group_by_label(root, packed)


def _read_tiny_annotations(folder: Path) -> ImagesByClass:
    annotations, images = folder / "val_annotations.txt", set(_list_images(folder / "images"))
    by_class: ImagesByClass = {}
    for number, line in enumerate(annotations.read_text(encoding="utf-8").splitlines(), 1):
        name, _, rest = line.partition("\t")
        label = rest.split("\t")[0].strip()
        if not label or name not in images:
            raise ValueError(
                f"{annotations}, line {number}: {line!r} names no class, or no image of {folder / 'images'}; "
                "take the data set's own file, and all of its images"
            )
        by_class.setdefault(label, []).append((f"images/{name}", None))
    return by_class


def _group_by_label(root: Path, images: Sequence[ImageEntry]) -> ImagesByClass:
    """Return images, in the order of their names, by the classes that the lines of another file give them."""
    path, labels = _read_labels(root)
    if len(labels) != len(images):
        raise ValueError(f"{path} has {len(labels)} lines for {len(images)} validation images; take the whole ones")
    by_class: ImagesByClass = {}
    for image, label in zip(images, labels, strict=True):
        by_class.setdefault(label, []).append(image)
    return by_class


def _read_labels(root: Path) -> tuple[Path, list[str]]:
    """Return the class of each validation image, and the file that tells them."""
    path, numbers = root / SYNSET_LABELS, root / DEVKIT / GROUND_TRUTH
    if path.is_file():
        return path, path.read_text(encoding="utf-8").split()
    if not numbers.is_file():
        raise FileNotFoundError(f"the validation images have no classes; put {path} there, or {numbers} with meta.mat")
    meta = root / DEVKIT / "meta.mat"
    synsets = read_mat(meta, "synsets", squeeze_me=True, struct_as_record=False)
    try:
        names = {str(int(synset.ILSVRC2012_ID)): str(synset.WNID) for synset in synsets}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"synsets in {meta} is not laid out like ImageNet's: {error}; take the official file"
        ) from error
    labels = numbers.read_text(encoding="utf-8").split()
    if unknown := sorted(set(labels) - names.keys()):
        raise ValueError(f"{numbers} has the number {unknown[0]}, which meta.mat lacks; take the official files")
    return numbers, [names[label] for label in labels]
