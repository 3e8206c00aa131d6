"""The forms in which a tracked video can be had: one object for each, fed with one frame after another.

| module | writers |
|---|---|
| `videos` | `OverlayVideo`, `CutoutVideo`, `GreenScreenVideo` |
| `pictures` | `MaskFolder`, `CutoutFolder` |
| `report` | `JsonReport` |
| `coco` | `CocoFile` |
| `table` | `CsvFile` |
| `summary` | `SummaryPicture` |

All are `writer.Writer`s: `add` each frame, then `close` puts the result in place, or `abort` leaves everything as it
was. `group.WriterGroup` treats several as one. They need nothing of the command's options.
"""
