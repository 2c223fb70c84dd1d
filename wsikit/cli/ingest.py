"""`wsikit ingest`: what other tools and data sets hold, in; a store, out. One command a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import OverwriteOption, SlideOption, worker_count

if TYPE_CHECKING:
    from wsikit.stages.ingest.collection import DataSet
    from wsikit.stages.ingest.ingest import IngestOptions

StoreOption = Annotated[Path, typer.Option("--output", "-o", metavar="STORE", help="The store.")]

CohortOption = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="Where the cohort goes. Default: STORE.cohort.csv."),
]
CodecOption = Annotated[
    Literal["zstd", "jpegxl", "jpeg"],
    typer.Option(help="zstd and jpegxl lose nothing; 16-bit grey is always zstd."),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", "-j", min=0, help="Threads; 0: one a processor core.")
]
SplitSeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn at random.")]


def h5(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Holds <slide_id>.h5, or h5_files/ with them.")
    ],
    output: StoreOption,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who made the features, if the files do not say."),
    ] = None,
    mpp: Annotated[
        str | None, typer.Option(metavar="UM", help="True um per level-0 px of all slides.")
    ] = None,
    slides: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|COHORT.csv",
            help="Slide files, for size, um per px and thumbnail, as far as they are there.",
        ),
    ] = None,
    coords: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Patch files: CLAM's patches/, TRIDENT's patches/."),
    ] = None,
    patch_size_level0: Annotated[
        int | None,
        typer.Option(
            "--patch-size-level0", metavar="PX", min=1, help="Side of a patch in level-0 px."
        ),
    ] = None,
    size_from_patches: Annotated[
        bool,
        typer.Option(
            "--size-from-patches", help="A slide whose size none states ends at its patches."
        ),
    ] = False,
    slide: SlideOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Take over features that CLAM, TRIDENT or wsikit export wrote.

    The store then holds patches and features but no pixels: graph, train,
    predict, heatmap and evaluate work as ever, extract does not. Nothing is
    guessed: what the files do not say is asked for by name. Files taken before
    are skipped.

    Examples:

      wsikit ingest h5 20x_256px_0px_overlap/features_uni_v1 -o store --encoder uni_v1 --slides wsi

      wsikit ingest h5 FEATURES --coords PATCHES -o store --encoder uni --mpp 0.25

      wsikit ingest h5 exported -o store
    """
    from wsikit.stages.cohort import parse_mpp
    from wsikit.stages.exchange.ingest_h5 import H5Options, run_ingest_h5

    options = H5Options(
        encoder=encoder,
        mpp=parse_mpp(mpp or "", "--mpp"),
        slides=slides,
        coords=coords,
        patch_size_level0=patch_size_level0,
        size_from_patches=size_from_patches,
    )
    identity, outcome = run_ingest_h5(
        folder, output, options, slide_ids=slide, progress=make_progress(), overwrite=overwrite
    )
    code = exit_code(outcome, "ingest")
    if identity:
        print(identity)
    raise typer.Exit(code)


def breakhis(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Holds BreaKHis_v1, or the files themselves."),
    ],
    output: StoreOption,
    cohort: CohortOption = None,
    magnification: Annotated[
        list[int] | None,
        typer.Option(metavar="40|100|200|400", help="Only this one; repeatable. Default: all."),
    ] = None,
    label: Annotated[
        Literal["class", "type"],
        typer.Option(help="benign against malignant, or the eight types."),
    ] = "class",
    patients: Annotated[
        Literal["slide", "case"],
        typer.Option(help="slide: 82, as published; case: 22549AB and 22549CD are one patient."),
    ] = "slide",
    keep_double_labelled: Annotated[
        bool,
        typer.Option(
            "--keep-double-labelled", help="Take slide 13412, published under two diagnoses."
        ),
    ] = False,
    split: Annotated[
        Literal["patient", "images"],
        typer.Option(help="patient: train splits; images: 80/10/10 of pictures. LEAKY."),
    ] = "patient",
    seed: SplitSeedOption = 0,
    codec: CodecOption = "zstd",
    slide: SlideOption = None,
    workers: WorkersOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Take BreakHis: pictures of breast tumours at 40, 100, 200 and 400x.

    What a picture shows is read from its file name; folders may be the published
    tree or none. One specimen slide at one magnification becomes one slide of the
    store, its pictures the patches. Labels go to the cohort, not to the store.
    Files that are no pictures of the set, or damaged, are named and left out.

    Without a split column wsikit train keeps each patient on one side. With
    --split images every picture is a slide of its own and one patient's pictures
    lie on several sides, as in some papers: what is measured is then too good.

    Examples:

      wsikit ingest breakhis BreaKHis_v1 -o store --magnification 100

      wsikit ingest breakhis BreaKHis_v1 -o all -j 8
    """
    from wsikit.errors import UsageError, nearest
    from wsikit.stages.ingest.breakhis import MPP, BreakHisOptions, find_breakhis

    for wrong in set(magnification or ()) - set(MPP):
        raise UsageError(f"--magnification {wrong}", nearest(str(wrong), map(str, MPP)))
    options = BreakHisOptions(
        magnifications=tuple(magnification or ()),
        keep_double_labelled=keep_double_labelled,
        label=label,
        patients=patients,
        split=split,
        seed=seed,
    )
    _ingest(
        find_breakhis(folder, options), output, _common(codec, workers, overwrite, slide, cohort)
    )


KindOption = Annotated[
    Literal["patches", "rois", "whole"],
    typer.Option(
        help="patches: random centres in a lesion, 224 px; rois: the lesion with surroundings, "
        "299 px; whole: the breast, 512 px."
    ),
]
SideOption = Annotated[
    int | None,
    typer.Option(metavar="PX", min=16, max=4096, help="Side of the pictures; default by --kind."),
]
PatchesOption = Annotated[
    int, typer.Option("--patches", min=1, max=1000, help="Patches a lesion, for --kind patches.")
]
ContextOption = Annotated[
    float,
    typer.Option(
        min=0, max=10, help="Surroundings on each side of a lesion, as a share of its longer side."
    ),
]


def cbis_ddsm(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What was fetched from TCIA, with the CSVs.")
    ],
    output: StoreOption,
    cohort: CohortOption = None,
    kind: KindOption = "rois",
    abnormality: Annotated[
        Literal["mass", "calc", "both"], typer.Option(help="Masses, calcifications, or both.")
    ] = "mass",
    csv: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the description CSVs, if not in DIR."),
    ] = None,
    side: SideOption = None,
    patches: PatchesOption = 8,
    context: ContextOption = 0.25,
    split: Annotated[
        Literal["patient", "published", "images"],
        typer.Option(
            help="patient: train splits; published: the set's own test side (LEAKY where masses "
            "and calcifications are mixed); images: at random. LEAKY."
        ),
    ] = "patient",
    seed: SplitSeedOption = 0,
    slide: SlideOption = None,
    workers: WorkersOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Take CBIS-DDSM: mammograms with masks of their lesions, as TCIA hands them out.

    The folders may be named as any of TCIA's programs does. Masks are known by what
    they hold, not by their names, which are swapped in places. Grey is kept at its
    full depth, MONOCHROME1 is inverted, names and dates stay behind. The box of
    each lesion is kept in the frame of each picture. A lesion that has no mask, or
    an empty one, or one outside the breast, is named and the rest go on.

    Of patches and rois a lesion is a slide; of whole a mammogram is one, malignant
    where any of its lesions is.

    Examples:

      wsikit ingest cbis-ddsm CBIS-DDSM -o patches --kind patches

      wsikit ingest cbis-ddsm CBIS-DDSM -o whole --kind whole --csv tables
    """
    from wsikit.stages.ingest.cbis_ddsm import CbisOptions, find_cbis_ddsm
    from wsikit.stages.ingest.mammogram import CutOptions

    cut = CutOptions(kind, side, patches, context, seed)
    found = find_cbis_ddsm(folder, CbisOptions(cut, abnormality, split, seed, csv))
    _ingest(found, output, _common("zstd", workers, overwrite, slide, cohort))


def mini_mias(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Holds mdbNNN.png or .pgm and labels.csv.")
    ],
    output: StoreOption,
    cohort: CohortOption = None,
    kind: KindOption = "rois",
    side: SideOption = None,
    patches: PatchesOption = 8,
    context: ContextOption = 0.25,
    split: Annotated[
        Literal["patient", "images"],
        typer.Option(help="patient: train splits; images: 80/10/10 of pictures. LEAKY."),
    ] = "patient",
    seed: SplitSeedOption = 0,
    slide: SlideOption = None,
    workers: WorkersOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Take mini-MIAS: mammograms with the centre and radius of each lesion.

    Centres count from the bottom left in a frame of 1024 px, whatever the pictures
    have. Pictures mdb001 and mdb002 are one woman's, and so on. Of patches and rois
    a lesion is a slide, benign or malignant; of whole a mammogram is one, normal
    or abnormal. Instead of labels.csv the set's own information file will do.

    Examples:

      wsikit ingest mini-mias all-mias -o rois

      wsikit ingest mini-mias all-mias -o whole --kind whole
    """
    from wsikit.stages.ingest.mammogram import CutOptions
    from wsikit.stages.ingest.mini_mias import MiniMiasOptions, find_mini_mias

    cut = CutOptions(kind, side, patches, context, seed)
    found = find_mini_mias(folder, MiniMiasOptions(cut, split, seed))
    _ingest(found, output, _common("zstd", workers, overwrite, slide, cohort))


def pictures(
    given: Annotated[
        Path,
        typer.Argument(metavar="DIR|CSV", help="Pictures; a folder below it is their label."),
    ],
    output: StoreOption,
    cohort: CohortOption = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Resize all to this many px. Default: as they are."),
    ] = None,
    grey: Annotated[
        bool, typer.Option("--grey", help="One channel at its full depth, 8 or 16 bits.")
    ] = False,
    mpp: Annotated[
        str | None, typer.Option(metavar="UM", help="True um per px of the files.")
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN", help="What this regular expression finds in a name is the patient."
        ),
    ] = None,
    codec: CodecOption = "zstd",
    slide: SlideOption = None,
    workers: WorkersOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Take any pictures: a folder of them, or a CSV that says what each one is.

    In a folder every picture is a slide, and its folder's name is its label. A CSV
    has a column picture, and may have slide_id, patient_id, label, site, split and
    mpp; pictures of one slide_id are stacked. All must be of one size, or be
    resized with --size.

    Examples:

      wsikit ingest pictures photos -o store --size 448x384

      wsikit ingest pictures ucsb -o store --patient 'ytma[0-9]+_[0-9]+'

      wsikit ingest pictures pictures.csv -o store --mpp 0.5
    """
    from wsikit.errors import UsageError
    from wsikit.stages.cohort import parse_mpp
    from wsikit.stages.ingest.pictures import PicturesOptions, find_pictures
    from wsikit.types import Size

    wanted = None
    if size is not None:
        parts = size.lower().split("x")
        if len(parts) != 2 or not all(p.isdecimal() and 1 <= int(p) <= 16384 for p in parts):
            raise UsageError(f"--size {size}", "write width and height in px, such as 448x384")
        wanted = Size(int(parts[0]), int(parts[1]))
    options = PicturesOptions(wanted, grey, parse_mpp(mpp or "", "--mpp"), patient)
    _ingest(
        find_pictures(given, options), output, _common(codec, workers, overwrite, slide, cohort)
    )


def _common(
    codec: Literal["zstd", "jpegxl", "jpeg"],
    workers: int,
    overwrite: bool,
    slides: list[str] | None,
    cohort: Path | None,
) -> IngestOptions:
    from wsikit.stages.ingest.ingest import IngestOptions

    return IngestOptions(codec, worker_count(workers), overwrite, slides, cohort)


def _ingest(found: DataSet, store: Path, options: IngestOptions) -> None:
    """Write what was found, say what became of it, and print where the cohort lies."""
    from wsikit.stages.ingest.ingest import ingest

    done = ingest(found, store, options, make_progress())
    code = exit_code(done.outcome, "ingest")
    print(done.cohort)
    raise typer.Exit(code)


SOURCES = (h5, breakhis, cbis_ddsm, mini_mias, pictures)


def make_ingest() -> typer.Typer:
    """Assemble the sub-commands."""
    app = typer.Typer(
        no_args_is_help=True,
        help="Take over what other tools and data sets hold.",
    )
    for source in SOURCES:
        app.command(no_args_is_help=True)(source)
    return app
