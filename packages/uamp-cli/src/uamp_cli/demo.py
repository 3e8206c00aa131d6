"""`uamp demo`: follow objects through a video and write it with the objects marked. Its work is in `demo_run`."""

import typer

from uamp_cli import demo_options as options
from uamp_cli.interrupts import kill_is_ctrl_c
from uamp_cli.terminal import EXIT_INTERRUPTED


def demo(
    input: options.Input = None,  # noqa: A002 - the option's name
    max_frames: options.MaxFrames = None,
    box: options.Boxes = None,
    point: options.Points = None,
    mask: options.Mask = None,
    prompts: options.Prompts = None,
    select: options.Select = False,
    object: options.Objects = None,  # noqa: A002 - the option's name
    prompt_frame: options.PromptFrame = 0,
    output: options.Output = None,
    show_uncertainty: options.ShowUncertainty = False,
    save_masks: options.SaveMasks = None,
    save_cutout: options.SaveCutout = None,
    cutout_video: options.CutoutVideo = None,
    green_screen: options.GreenScreen = None,
    summary: options.Summary = None,
    json: options.Json = None,
    coco: options.Coco = None,
    csv: options.Csv = None,
    model: options.Model = "nano",
    memory: options.Memory = "uamp",
    rehearse: options.Rehearse = 0,
    memory_budget: options.MemoryBudget = 1.0,
    image_size: options.ImageSize = None,
    compiled: options.Compile = False,
    device: options.Device = "auto",
    checkpoint: options.Checkpoint = None,
    uamp_checkpoint: options.UampCheckpoint = None,
    ui: options.Ui = False,
    port: options.Port = None,
    no_browser: options.NoBrowser = False,
) -> None:
    """Follow objects through a video and write it with the objects marked.

    Point at objects with --box, --point, --mask, --prompts or --select. Without any, objects are proposed and the most
    prominent is followed. Without --input, a generated clip is tracked from its true first mask and scored.
    """
    from uamp_cli.demo_settings import DemoSettings, read_settings
    from uamp_cli.sources import default_output

    if port is not None or no_browser:
        _needs_page(ui=ui, option="--port" if port is not None else "--no-browser")

    settings = DemoSettings(
        input=input,
        output=output if output is not None else default_output(input),
        model=model,
        memory=memory,
        device=device,
        checkpoint=checkpoint,
        uamp_checkpoint=uamp_checkpoint,
        boxes=tuple(box or ()),
        points=tuple(point or ()),
        mask=mask,
        prompts=prompts,
        prompt_frame=prompt_frame,
        objects=tuple(object or ()),
        select=select,
        save_masks=save_masks,
        save_cutout=save_cutout,
        cutout_video=cutout_video,
        green_screen=green_screen,
        summary=summary,
        show_uncertainty=show_uncertainty,
        json=json,
        coco=coco,
        csv=csv,
        max_frames=max_frames,
        rehearse=rehearse,
        memory_budget=memory_budget,
        image_size=image_size,
        compiled=compiled,
    )
    if ui:
        from uamp_cli.page.settings import open_page

        open_page(settings, port=port, opens_browser=not no_browser)
        return
    plan = read_settings(settings)
    from uamp_cli.demo_run import run_demo  # imports av, which wrong options need not wait for

    with kill_is_ctrl_c():
        tally = run_demo(settings, plan)
    if tally.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _needs_page(*, ui: bool, option: str) -> None:
    if not ui:
        raise typer.BadParameter("it is about the page: add --ui", param_hint=option)
