"""The header of a JPEG file, read without decoding its pixels."""

from __future__ import annotations

START_OF_FRAME = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    """Return height and width of a JPEG as it is stored, before any EXIF orientation; None for anything else.

    Reference:
        ITU-T T.81, annex B: markers with the length of what follows, up to the frame header.
    """
    position = 2
    if encoded[:2] != b"\xff\xd8":
        return None
    while encoded[position : position + 1] == b"\xff":
        marker = encoded[position + 1 : position + 2]
        if marker == b"\xff":  # fill
            position += 1
        elif marker and marker[0] in START_OF_FRAME:
            height, width = (int.from_bytes(encoded[position + at : position + at + 2]) for at in (5, 7))
            return (height, width) if height and width else None
        else:
            position += 2 + int.from_bytes(encoded[position + 2 : position + 4])
    return None
