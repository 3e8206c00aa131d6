"""The ways a video can be encoded, and what each takes and plays on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Encoding:
    """One codec with its settings.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pixel_format: How it stores pictures whose sides are even.
        odd_pixel_format: How it stores pictures with an odd side, without losing a row or column.
        options: Of the encoder.
        metadata: What the stream says about itself beyond the codec's own headers.
        containers: File endings that it can be written to, with FFmpeg's names.
        has_alpha: Whether pictures are H×W×4 with an alpha channel, not multiplied in; else H×W×3.
        keeps_pixel_aspect: Whether the file says so if pixels are not square.
    """

    codec: str
    pixel_format: str
    odd_pixel_format: str
    containers: Mapping[str, str]
    options: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    has_alpha: bool = False
    keeps_pixel_aspect: bool = True

    @property
    def channels(self) -> int:
        """Channels of a picture: 3 for RGB, 4 for RGB with alpha."""
        return 4 if self.has_alpha else 3

    def stored_as(self, height: int, width: int) -> str:
        """The pixel format for pictures of that size."""
        return self.odd_pixel_format if height % 2 or width % 2 else self.pixel_format


H264 = Encoding(
    codec="libx264",
    pixel_format="yuv420p",
    odd_pixel_format="yuv444p",
    containers={".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"},
    # No frames that wait for later ones (bf): each packet then follows the one before in time as well.
    options={"crf": "18", "preset": "veryfast", "bf": "0"},
)
"""What every player and browser opens."""

PRORES_4444 = Encoding(
    codec="prores_ks",
    pixel_format="yuva444p10le",
    odd_pixel_format="yuva444p10le",
    containers={".mov": "mov"},
    # the vendor is Apple's own encoder's: some editors refuse others
    options={"profile": "4444", "vendor": "apl0", "alpha_bits": "16"},
    has_alpha=True,
)
"""Alpha for video editors; large, every frame by itself."""

VP9_ALPHA = Encoding(
    codec="libvpx-vp9",
    pixel_format="yuva420p",
    odd_pixel_format="yuva420p",
    containers={".webm": "webm"},
    # a frame kept back for later prediction (auto-alt-ref) would have no alpha
    options={"crf": "20", "b": "0", "auto-alt-ref": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"},
    metadata={"alpha_mode": "1"},
    has_alpha=True,
    # VP9 itself cannot, and PyAV gives no way to tell FFmpeg's WebM muxer
    keeps_pixel_aspect=False,
)
"""Alpha for web pages: Chrome, Edge and Firefox show it, and editors that read WebM."""

ALPHA_ENCODINGS: Mapping[str, Encoding] = {".mov": PRORES_4444, ".webm": VP9_ALPHA}
"""By file ending, how video with alpha is written."""
