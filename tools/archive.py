"""Writes a source release that is the same whoever builds it, and whenever."""

from __future__ import annotations

import gzip
import os
import tarfile
import time
from pathlib import Path


def pack(folder: Path, target: Path) -> None:
    """Write ``folder`` as a .tar.gz: sorted, without owners, of one time.

    The time is ``SOURCE_DATE_EPOCH`` (seconds), else now. Modes are those that a
    umask of 022 would have left.
    """
    moment = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    with (
        open(target, "wb") as raw,
        gzip.GzipFile("", "wb", mtime=moment, fileobj=raw) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in [folder, *sorted(folder.rglob("*"))]:
            name = path.relative_to(folder.parent).as_posix()
            info = tar.gettarinfo(str(path), name)
            info.mtime = moment
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if path.is_dir() or info.mode & 0o100 else 0o644
            if info.isfile():
                with open(path, "rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
