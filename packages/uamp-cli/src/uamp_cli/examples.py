"""What to type: the examples at the end of each command's help."""

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("uamp demo", "a generated clip, scored against its truth"),
        ("uamp demo --input cat.mp4 --box 120,80,260,300", "follow what is in the box"),
        ("uamp demo --ui", "the same in the browser, with the mouse"),
        ("uamp models list", "what can be tracked with"),
    ),
    "demo": (
        ("uamp demo", "a generated clip, scored against its truth"),
        ("uamp demo -i cat.mp4", "what stands out; cat_uamp_objects.png shows the rest"),
        ("uamp demo -i cat.mp4 --object 3", "the third of these"),
        ("uamp demo -i cat.mp4 --box 120,80,260,300 --show-uncertainty", ""),
        ("uamp demo -i cat.mp4 --point 200,180 --cutout-video cat.mov", ""),
        ("uamp demo -i cat.mp4 --mask first.png --coco coco.json --csv cat.csv", ""),
        ("uamp demo -i cat.mp4 --prompts cat.json --json - --quiet | jq .fps", ""),
        ("uamp demo --ui", "click on the object in the browser"),
    ),
    "eval": (
        ("uamp eval davis --dataset-root DAVIS --memory sam2 --memory uamp", ""),
        ("uamp eval davis --dataset-root DAVIS --year 2017 --sequences camel,dogs-jump", ""),
        ("uamp eval score --results results --dataset-root DAVIS", "PNGs you have"),
    ),
    "train": (
        ("uamp train --config configs/finetune_nano.yaml --set lr=3e-4", ""),
        ("uamp train --config configs/finetune_nano.yaml --set dataset=davis --set dataset_root=DAVIS", "real video"),
        ("uamp train --config configs/finetune_nano.yaml --resume", "go on after an interruption"),
        ("torchrun --nproc_per_node 8 -m uamp_cli train --config configs/finetune_uamp.yaml", "eight GPUs"),
    ),
    "models": (
        ("uamp models list", ""),
        ("uamp models info sam2.1-hiera-large", "with its speed on this machine"),
        ("uamp models download sam2.1-hiera-tiny", ""),
    ),
    "data": (
        ("uamp data download davis datasets", "resumes, checks its digest"),
        ("uamp data check datasets/DAVIS", "everything that is missing or damaged"),
        ("uamp data synth clips --clips 20", "generated clips, laid out like DAVIS"),
    ),
    "bench": (
        ("uamp bench tracker --objects 1,4", "beside the sam2 package's own predictor"),
        ("uamp bench metrics", ""),
    ),
    "info": (("uamp info --json", "for machines"),),
}


def examples_of(command: str) -> str:
    """The examples of a command, or of `uamp` itself for "", as markup with one on each line."""
    found = EXAMPLES.get(command, ())
    lines = [f"  {_escaped(text)}" + (f"  [dim]# {_escaped(note)}[/dim]" if note else "") for text, note in found]
    return "\n".join(["[bold]Examples[/bold]", *lines]) if lines else ""


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
