"""Write HDF5 so that a full disk is an error and no crash.

Where the disk refuses a write, HDF5 can neither go on nor close its file, and the process dies of a
segmentation fault soon after (seen with HDF5 2.0). So it writes through an object that keeps the
refusal to itself, for whoever asks.
"""

from __future__ import annotations

from io import FileIO


class Disk:
    """Stand between HDF5 and a file; after the first refusal nothing more is written.

    Args:
        file: open for reading and writing.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._refusal: OSError | None = None

    def check(self) -> None:
        """Raise OSError where something could not be written."""
        if self._refusal is not None:
            raise self._refusal

    def write(self, data: memoryview) -> int:
        """Write all of it at the place sought."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self._refusal is None:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._refusal = error
        return size

    def truncate(self, size: int) -> int:
        """Set the file's length."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._refusal = self._refusal or error
            return size

    def readinto(self, buffer: memoryview) -> int:
        """Read back what was written."""
        return self._file.readinto(buffer) or 0

    def read(self, size: int = -1) -> bytes:
        """Read back bytes; h5py tells by this that it was given a file."""
        return self._file.read(size) or b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Choose the place of the next read or write."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return that place."""
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: there is no buffer."""
