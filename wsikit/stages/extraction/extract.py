"""Extract: the store's patches in, one feature vector a patch out.

Four kinds of threads work at once: one looks which slides lack features (`extract_plan`), some
decode patches (`wsikit.training.patches.reader`), one a device computes (`lane.py`), and one
writes (`extract_record`). Slides go to whichever device is free.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import numpy as np
import torch

from wsikit.config import ExtractConfig
from wsikit.encoders.encoder import Encoder, build_encoder, encoder_id
from wsikit.errors import ConfigError, WsikitError
from wsikit.stages.extraction.devices import resolve_devices
from wsikit.stages.extraction.kept_encoder import keep_encoders
from wsikit.stages.extraction.lane import Lane
from wsikit.stages.extraction.plan import Plan, SlideWork
from wsikit.stages.extraction.record import Recorder
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.slide_loop import chosen_slides
from wsikit.store.store import Store
from wsikit.training.patches.encode_step import EncodeStep, place_encoder
from wsikit.training.patches.reader import PatchReader
from wsikit.training.patches.slide_queue import SlideQueue

AHEAD = 3
"""Batches decoded ahead of each device."""


@dataclass(frozen=True)
class Extraction:
    """What an extraction made.

    Attributes:
        encoder_ids: the ids under which the features lie, in the order asked for.
        outcome: what became of each slide, all encoders taken together.
    """

    encoder_ids: tuple[str, ...]
    outcome: Outcome


def run_extract(
    store_path: Path,
    config: ExtractConfig,
    *,
    device: str = "auto",
    slide_ids: Sequence[str] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> tuple[str, Outcome]:
    """Compute features for a store's slides; see `extract_features`.

    Returns:
        The id of the first encoder, under which its features lie, and what became of each slide.
    """
    made = extract_features(
        store_path, config,
        device=device, slide_ids=slide_ids, progress=progress, overwrite=overwrite,
    )  # fmt: skip
    return made.encoder_ids[0], made.outcome


def extract_features(
    store_path: Path,
    config: ExtractConfig,
    *,
    device: str = "auto",
    slide_ids: Sequence[str] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    encoders: dict[str, Encoder] | None = None,
) -> Extraction:
    """Compute features for a store's slides by one or several encoders.

    Each patch is decoded once, however many encoders there are. A slide that fails is recorded and
    the rest go on; what is done already is skipped, encoder by encoder. On a processor the bytes
    depend on the slide, the encoder, the batch size and the precision alone: not on the other
    slides, their order, or how many threads decode.

    Args:
        store_path: the store.
        config: which encoders and how.
        device: words for `resolve_devices`.
        slide_ids: only these; default all that are tiled.
        progress: told of patches.
        overwrite: redo what is there.
        encoders: encoder id -> encoder, built already. Default: those of `config`; one whose
            weights come from a file is then copied into the store, for runs to take along.

    Raises:
        StoreError: the store cannot be used.
        ConfigError: an encoder or device is not known, or an encoder is named twice.
        WeightsError: an encoder's weights are not at hand.
        UsageError: there is no such device, or an encoder cannot be compiled.
    """
    store = Store(store_path)
    chosen = list(dict.fromkeys(chosen_slides(store, slide_ids)))
    devices = resolve_devices(device)
    chosen_encoders = encoders or _build(config)
    replicas = _replicas(chosen_encoders, devices, config.compile)
    with store.lock():
        if encoders is None:
            keep_encoders(store, chosen_encoders)
        recorder = Recorder(store, chosen_encoders, progress or Silent())
        plan = Plan(store, chosen_encoders, config, overwrite)
        try:
            with _planned(plan, chosen, recorder) as slides:
                _compute(store, slides, config, replicas, recorder)
        finally:
            recorder.close()
    return Extraction(tuple(chosen_encoders), recorder.outcome)


def _build(config: ExtractConfig) -> dict[str, Encoder]:
    """Build the encoders, each under its id, in the order asked for."""
    encoders: dict[str, Encoder] = {}
    named = [(config.encoder, config.weights), *((e.encoder, e.weights) for e in config.also)]
    for name, weights in named:
        encoder = build_encoder(name, weights).eval()
        identity = encoder_id(encoder)
        if identity in encoders:
            raise ConfigError(f"encoder '{name}' is named twice ({identity})", "name it once")
        encoders[identity] = encoder
    return encoders


@contextmanager
def _planned(plan: Plan, chosen: Sequence[str], recorder: Recorder) -> Iterator[SlideQueue]:
    """Look at the slides in a thread, and hand out those that lack something as they are found."""
    slides, total, ended = SlideQueue(), Future[int](), Event()

    def look() -> None:
        patches = 0
        try:
            for slide_id in chosen:
                if ended.is_set():
                    break
                patches += _sort_out(plan, slide_id, slides, recorder)
        except BaseException as error:
            total.set_exception(error)
        else:
            total.set_result(patches)
        finally:
            slides.close()

    recorder.begin(total)
    thread = Thread(target=look, name="plan")
    thread.start()
    try:
        yield slides
    finally:
        ended.set()
        thread.join()


def _sort_out(plan: Plan, slide_id: str, slides: SlideQueue, recorder: Recorder) -> int:
    """Send a slide where it belongs; return how many patches are to be computed."""
    try:
        work = plan.work_of(slide_id)
    except (WsikitError, OSError) as error:
        recorder.failed(SlideWork(slide_id), error)
        return 0
    if work.patches:
        slides.put(work)
    elif work.recipes:
        nothing = {
            encoder_id: np.empty((0, plan.encoders[encoder_id].features), plan.config.dtype)
            for encoder_id in work.recipes
        }
        recorder.finished(work, nothing, 0.0)
    else:
        recorder.passed_over(work)
    return work.patches


def _compute(
    store: Store,
    slides: SlideQueue,
    config: ExtractConfig,
    replicas: Sequence[tuple[torch.device, Mapping[str, Encoder]]],
    recorder: Recorder,
) -> None:
    """Let every device take slides until none is left."""
    stop = Event()
    threads = config.readers or len(os.sched_getaffinity(0))
    with PatchReader(store, threads) as reader:

        def run(device: torch.device, encoders: Mapping[str, Encoder]) -> None:
            step = EncodeStep(
                encoders, device, config.precision, config.batch_size,
                compiled=config.compile, say=recorder.say,
            )  # fmt: skip
            pinned = device.type == "cuda"
            batches = reader.batches(slides, config.batch_size, AHEAD, pinned)
            with torch.cuda.device(device) if pinned else nullcontext():
                Lane(step, recorder, config.dtype, stop).run(batches)

        if len(replicas) == 1:
            run(*replicas[0])  # in this thread, where Ctrl-C comes through at once
        else:
            _run_all(run, replicas, stop)


def _replicas(
    encoders: Mapping[str, Encoder], devices: Sequence[torch.device], compiled: bool
) -> list[tuple[torch.device, Mapping[str, Encoder]]]:
    """Put the encoders on every device; one that is named twice holds them once."""
    first, *others = dict.fromkeys(devices)
    placed: dict[torch.device, Mapping[str, Encoder]] = {}
    for device in (*others, first):  # the originals go to the first, once they are copied
        own = encoders if device == first else copy.deepcopy(dict(encoders))
        placed[device] = {name: place_encoder(e, device, compiled) for name, e in own.items()}
    return [(device, placed[device]) for device in devices]


def _run_all(
    run: Callable[[torch.device, Mapping[str, Encoder]], None],
    replicas: Sequence[tuple[torch.device, Mapping[str, Encoder]]],
    stop: Event,
) -> None:
    """Run one thread a replica; the first one that fails ends them all."""
    errors: list[BaseException] = []

    def guarded(device: torch.device, encoders: Mapping[str, Encoder]) -> None:
        try:
            run(device, encoders)
        except BaseException as error:  # raised below, in the thread that waits
            errors.append(error)
            stop.set()

    threads = [Thread(target=guarded, args=one, name=str(one[0])) for one in replicas]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        stop.set()  # where Ctrl-C ended the waiting
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
