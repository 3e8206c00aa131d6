"""Text files and folders that appear when they are complete, and text that waits on disk until then."""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from uamp_data.atomic import create_temporary, replace, unwritable
from uamp_data.errors import DataError
from uamp_data.interrupts import interrupts_deferred

from uamp_cli.terminal import STDOUT

_STDOUT_IN_WORDS = Path("standard output")


class AtomicText:
    """A UTF-8 file that is written beside its place and moved there when it is complete; `-` goes to stdout then."""

    def __init__(self, path: Path) -> None:
        """Begin it.

        Raises:
            DataError: it cannot be written there, or stdout is closed.
        """
        self.path = path
        self._target = path.resolve()
        self._to_stdout = path == STDOUT
        if self._to_stdout and sys.stdout is None:
            raise DataError("Standard output is closed: name a file instead of -.")
        self._temporary: Path | None = None if self._to_stdout else create_temporary(self._target)
        self.file: IO[str] = (
            tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close or abort
            if self._temporary is None
            else self._temporary.open("w", encoding="utf-8", newline="")
        )

    def write(self, text: str) -> None:
        """Add text.

        Raises:
            DataError: the disk is full, or something else keeps it from being written.
        """
        try:
            self.file.write(text)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> Path:
        """Put it in place; afterwards does nothing.

        Raises:
            DataError: it cannot be written.
            BrokenPipeError: whoever read stdout has gone.
        """
        if self.file.closed:
            return self.path
        try:
            if self._to_stdout:
                self.file.seek(0)
                shutil.copyfileobj(self.file, sys.stdout)
                sys.stdout.flush()
            self.file.close()
        except BrokenPipeError:
            self.abort()
            raise
        except OSError as error:
            self.abort()
            raise unwritable(_STDOUT_IN_WORDS if self._to_stdout else self.path, error) from error
        if self._temporary is not None:
            replace(self._temporary, self._target)
        return self.path

    def abort(self) -> None:
        """Discard it; an older file at the path stays."""
        with suppress(OSError):  # what could not be flushed is of no interest any more
            self.file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


class Spool:
    """Text that waits on disk until what goes before it is known, so that long videos need no memory."""

    def __init__(self, path: Path) -> None:
        """`path` is what the text is for, and what an error names."""
        self._path = path
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by close
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, text: str) -> None:
        """Add an item; a comma and a new line go between two."""
        try:
            self._file.write(f",\n{text}" if self.count else text)
        except OSError as error:
            raise unwritable(self._path, error) from error
        self.count += 1

    def copy_to(self, text: AtomicText) -> None:
        """Write all items."""
        try:
            self._file.seek(0)
            shutil.copyfileobj(self._file, text.file)
        except OSError as error:
            raise unwritable(self._path, error) from error

    def close(self) -> None:
        """Forget them."""
        with suppress(OSError):
            self._file.close()


class AtomicFolder:
    """Files that are written into a hidden folder inside their own and move out of it together.

    As a context manager, leaving normally puts them in place; any exception, Ctrl-C too, leaves nothing.
    """

    def __init__(self, path: Path) -> None:
        """Create the folder if need be.

        Raises:
            DataError: it cannot be created or written to.
        """
        self.path = path
        self.names: list[str] = []
        self._created: list[Path] = []
        try:
            self._create(path)
            self._hidden: Path | None = Path(tempfile.mkdtemp(prefix=".uamp-", suffix=".part", dir=path))
        except OSError as error:
            self._remove_created()
            raise unwritable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with interrupts_deferred():
            if kind is None:
                self.close()
            else:
                self.abort()

    def add(self, name: str, write: Callable[[Path], object]) -> None:
        """Let `write` make the file or folder of that name, which may be a path; it is given where."""
        assert self._hidden is not None
        try:
            write(self._hidden / name)
        except OSError as error:
            raise unwritable(self.path / name, error) from error
        except DataError as error:
            if isinstance(error.__cause__, OSError):  # the hidden folder's name would only confuse
                raise unwritable(self.path / name, error.__cause__) from error
            raise
        self.names.append(name)

    def close(self) -> Path:
        """Put all files in place, or none if a folder is where one is to go.

        Raises:
            DataError: it cannot be done.
        """
        hidden, self._hidden = self._hidden, None
        if hidden is not None:
            target = self.path
            try:
                parts = {self.path / part.name: part for part in sorted(hidden.iterdir())}
                for target, part in parts.items():
                    if target.is_dir() and not part.is_dir():
                        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                for target, part in parts.items():
                    os.replace(part, target)  # noqa: PTH105 - the name says that it overwrites
            except OSError as error:
                raise unwritable(target, error) from error
            finally:
                shutil.rmtree(hidden, ignore_errors=True)
        return self.path

    def abort(self) -> None:
        """Remove the files, and the folder if it was not there before."""
        hidden, self._hidden = self._hidden, None
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)
            self._remove_created()

    def _create(self, path: Path) -> None:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._created.append(folder)
        path.mkdir(exist_ok=True)  # says so if it is a file

    def _remove_created(self) -> None:
        with suppress(OSError):
            for folder in reversed(self._created):
                folder.rmdir()
