"""What some data sets need besides the core of the project."""

from __future__ import annotations

from importlib.util import find_spec


def require(extra: str, **libraries: str) -> None:
    """Refuse to go on without libraries that are not installed.

    Args:
        extra: the extra of ``sparse-lightning`` that installs them.
        libraries: the names by which they are imported, with the names by which they are installed.

    Raises:
        ModuleNotFoundError: one is missing.

    Example:
        >>> require("pose", cv2="opencv-python-headless")
    """
    missing = [installed for imported, installed in libraries.items() if find_spec(imported) is None]
    if missing:
        raise ModuleNotFoundError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: "
            f'pip install "sparse-lightning[{extra}]"'
        )
