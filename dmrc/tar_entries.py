"""Entries of a tar archive that comes from outside: tarfile reads them, and no header takes all memory."""

from __future__ import annotations

import tarfile

# A name of our own takes one block; one of others may be longer, and tarfile reads all of it into memory.
_LONGEST_HEADER_BYTES = 1 << 20
_PAX_KINDS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
UNREADABLE = (tarfile.TarError, EOFError, OverflowError, ValueError)
"""What tarfile raises for an archive that it cannot read; the last two for numbers in pax headers that are none."""


class BoundedEntry(tarfile.TarInfo):
    """An entry whose long name, or whose pax headers, are bounded: tarfile itself takes what memory there is."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        kinds = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, *_PAX_KINDS)
        if self.type in kinds and self.size > _LONGEST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes is larger than {_LONGEST_HEADER_BYTES >> 20} MiB")
        entry: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return entry
