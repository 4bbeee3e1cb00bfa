"""A file system of its own, on a loop device, that can be made to fail as disks do."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

SHUT_DOWN: Final = 0x8004587D
"""The request of ext4 after which nothing is read or written any more: every call fails with EIO."""
WITHOUT_LOG: Final = 2
"""Its argument: what was not written stays so, as when the device has gone."""


class BrokenDisk:
    """An ext4 of 128 MiB below a folder; skips the test where it cannot be made."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "image"
        self.path = folder / "mounted"
        """Where it is mounted."""

    def __enter__(self) -> Self:
        if shutil.which("mkfs.ext4") is None or shutil.which("mount") is None:
            pytest.skip("there is no mkfs.ext4 or no mount")
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(128 << 20)
        made = _ran("mkfs.ext4", "-q", str(self._image))
        if not made or not _ran("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.path)):
            pytest.skip("a file system cannot be mounted here")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ran("umount", str(self.path))

    def fail(self) -> None:
        """Let every read and write fail with EIO from now on."""
        mounted = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(mounted, SHUT_DOWN, struct.pack("I", WITHOUT_LOG))
        os.close(mounted)

    def turn_read_only(self) -> None:
        """What the kernel does to a file system in which it finds an error."""
        device = Path(
            subprocess.run(
                ["findmnt", "-no", "SOURCE", str(self.path)], capture_output=True, text=True, check=True
            ).stdout
        )
        trigger = Path("/sys/fs/ext4") / device.name.strip() / "trigger_fs_error"
        if not trigger.exists():
            pytest.skip("this kernel cannot be told of an error")
        trigger.write_text("a test")


def _ran(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
