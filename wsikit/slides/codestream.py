"""How large a compressed tile says it is, read before it is decoded.

Decoders allocate what a tile's own header asks for, which need not be what the TIFF around it
says: a few bytes can ask for 10 GB. So the size is looked up first.
"""

from __future__ import annotations

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_J2K_START = b"\xff\x4f\xff\x51"


def jpeg_size(data: bytes) -> tuple[int, int, int]:
    """Return (width, height, channels) of a JPEG image.

    Raises:
        ValueError: there is no frame header.
    """
    frame = _jpeg_frame(data)
    return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big"), frame[5]


def jpeg_header(data: bytes) -> bytes:
    """Return a JPEG image's bytes up to the end of its frame header: equal ones, equal sizes.

    Raises:
        ValueError: there is no frame header.
    """
    frame = _jpeg_frame(data)
    return data[: data.index(frame) + len(frame)]


def jpeg_is_subsampled(data: bytes) -> bool:
    """Tell whether a JPEG image keeps some channels at less than full resolution: never so in RGB.

    Raises:
        ValueError: there is no frame header.
    """
    frame = _jpeg_frame(data)
    return len({frame[7 + 3 * channel] for channel in range(frame[5])}) > 1


def _jpeg_frame(data: bytes) -> bytes:
    """Return the frame header after its length: depth, height, width, channels (T.81, B.2.2)."""
    at = 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAMES:
            frame = data[at + 4 : at + 2 + length]
            if len(frame) >= 6 and len(frame) >= 6 + 3 * frame[5]:
                return frame
            break
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _JPEG_ALONE:
            at += 2
        else:
            at += 2 + length
    raise ValueError("it is not a JPEG image")


def jpeg2000_size(data: bytes) -> tuple[int, int, int]:
    """Return (width, height, channels) of a JPEG 2000 codestream (ITU-T T.800, A.5.1).

    Raises:
        ValueError: there is no size header, or a channel has less than full resolution.
    """
    start = data.find(_J2K_START, 0, 4096)  # boxes may come before the codestream
    if start < 0 or start + 42 > len(data):
        raise ValueError("it is not a JPEG 2000 image")
    x1, y1, x0, y0 = (
        int.from_bytes(data[start + k : start + k + 4], "big") for k in (8, 12, 16, 20)
    )
    channels = int.from_bytes(data[start + 40 : start + 42], "big")
    steps = data[start + 42 : start + 42 + 3 * channels]  # depth, step in x and in y of each
    if {*steps[1::3], *steps[2::3]} != {1}:
        raise ValueError("its JPEG 2000 channels differ in resolution")
    return x1 - x0, y1 - y0, channels
