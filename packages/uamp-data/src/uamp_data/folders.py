"""Any data set with a folder of frames and a folder of masks for each video, such as MOSE or LVOS."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from uamp_data.errors import DataError
from uamp_data.layout import choose
from uamp_data.numbering import list_folders, list_pictures, match_masks, numbered_pictures
from uamp_data.sequence import DiskSequence, Entry, SequenceList

logger = logging.getLogger(__name__)


class FolderDataset(SequenceList):
    """The videos that have masks, by name. Masks may be given for all frames, for some, or for one."""

    def __init__(
        self,
        frames_dir: str | Path,
        annotations_dir: str | Path,
        sequences: Iterable[str] | None = None,
        *,
        late_objects: bool = False,
    ) -> None:
        """Lists the videos.

        Args:
            frames_dir: A folder with a folder of pictures for each video, or the pictures of a single video.
            annotations_dir: The masks, arranged likewise.
            sequences: Names to keep; None for all.
            late_objects: Whether each object enters in the first mask that shows it; if not, all objects enter in a
                video's first mask, and those that come later do not count.

        Raises:
            DataError: A folder is missing or empty, a name is unknown, a video lacks its frames, a mask its frame, or
                two frames have the same number.
        """
        self.frames_dir, self.annotations_dir = Path(frames_dir), Path(annotations_dir)
        self._entry = Entry.EACH if late_objects else Entry.FIRST
        for folder, what in ((self.frames_dir, "frames"), (self.annotations_dir, "masks")):
            if not folder.is_dir():
                problem = "is not a folder" if folder.exists() else "does not exist"
                raise DataError(f"The folder of {what} {folder} {problem}: check the path.")
        if list_pictures(self.frames_dir) and list_pictures(self.annotations_dir):
            names = choose([self.frames_dir.absolute().name], sequences, str(self.frames_dir))
            super().__init__([self._load(names[0], self.frames_dir, self.annotations_dir)])
            return
        names = choose(self._names(), sequences, str(self.annotations_dir))
        super().__init__([self._load(name, self.frames_dir / name, self.annotations_dir / name) for name in names])

    def _names(self) -> list[str]:
        with_masks = list_folders(self.annotations_dir)
        if not with_masks:
            raise DataError(
                f"{self.annotations_dir} holds no folder of masks: name the folder above those of the videos."
            )
        if not any(list_pictures(folder) for folder in with_masks):
            deeper = next((folder for folder in with_masks if list_folders(folder)), None)
            hint = f"name {deeper}" if deeper is not None else "put the masks of each video into it"
            raise DataError(f"No folder in {self.annotations_dir} holds masks: {hint}.")
        names = [folder.name for folder in with_masks]
        without = [folder.name for folder in list_folders(self.frames_dir) if folder.name not in set(names)]
        if without:
            logger.warning("%d videos without masks are left out, the first is %s", len(without), without[0])
        return names

    def _load(self, name: str, frames_folder: Path, masks_folder: Path) -> DiskSequence:
        frames = numbered_pictures(frames_folder)
        return DiskSequence(
            name=name,
            frame_paths=tuple(frames),
            annotation_paths=match_masks(frames, numbered_pictures(masks_folder)),
            listed=tuple(range(len(frames))),
            entry=self._entry,
        )
