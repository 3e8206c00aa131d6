from pathlib import Path


class DataError(Exception):
    """Data that cannot be read or written: one sentence that says what is wrong and what to do."""


class FileError(DataError):
    """What is wrong with one file, in parts, so that a list of many can show them in columns.

    Attributes:
        path: The file or folder.
        problem: What is wrong with it, as a predicate: "is damaged".
        remedy: What to do: "replace it".
    """

    def __init__(self, path: Path, problem: str, remedy: str, kind: str = "") -> None:
        """Makes the sentence "`kind` `path` `problem`: `remedy`."."""
        super().__init__(path, problem, remedy, kind)
        self.path, self.problem, self.remedy, self._kind = path, problem, remedy, kind

    def __str__(self) -> str:
        return f"{self._kind} {self.path} {self.problem}: {self.remedy}.".lstrip()
