"""``python -m pyrovae.look``: pictures of the latent space of a stored run, and of what is decoded from it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from pyrovae.command_line import CommandParser, check_seed, choose_device, rows_of_run, run_command
from pyrovae.pictures import PICTURE_FILES, PictureOptions, Pictures, draw_pictures
from pyrovae.plots import FILE_DPI, ProjectionMethod, picture_metadata
from pyrovae.runs import load


def make_parser() -> CommandParser:
    """The options of the command, each with its reason."""
    parser = CommandParser(
        prog="python -m pyrovae.look",
        description="Draw the latent space of a stored run and what its decoder makes of it, from the test rows: the "
        "latent space, its dimensions as histograms, lines between rows, traversals, the manifold of two latent "
        "dimensions, new rows of each class, variants of rows. What does not apply to the run is left out, and said. "
        "The run itself is not changed.",
    )
    add = parser.add_argument
    add("run", type=str, metavar="RUN", help="the run folder")
    add("--data-root", type=str | None, default=None, help="folder of the data, as in python -m pyrovae.fit")
    add(
        "--method",
        type=ProjectionMethod,
        default="pca",
        help="how more than two latent dimensions become a plane: pca keeps distances as well as a plane can; tsne and "
        "umap keep neighbours together, and their distances between groups say nothing. umap needs pip install "
        "'pyrovae[umap]'",
    )
    add(
        "--rows",
        type=NonNegativeInt,
        nargs="+",
        default=None,
        metavar="ROW",
        help="numbers of test rows, from 0: lines go from each to the next, each has its variants, and traversals "
        "start at the first. Without it the first row of each class, or the first rows, six at most",
    )
    add("--num-rows", type=PositiveInt, default=2000, help="test rows of the latent space and the histograms, at most")
    add(
        "--dims",
        type=NonNegativeInt,
        nargs="+",
        default=None,
        metavar="DIM",
        help="latent dimensions of the traversals and the histograms; without it the twelve that hold most",
    )
    add(
        "--variant-scale",
        type=PositiveFloat,
        default=1.0,
        help="1 draws variants from q(z|x) itself; 2 draws them twice as far from its mean",
    )
    add("--seed", type=NonNegativeInt, default=0, help="of all draws, of t-SNE and of UMAP")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--output-dir", type=str | None, default=None, help="folder of the pictures; without it the run folder")
    add("--overwrite", action="store_true", help="replace pictures that are there already")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status: 0, 2 for bad input, 4 for files, 130 for an interrupt."""
    return run_command(make_parser(), arguments, _look, "the pictures were not all written")


def _look(options: dict[str, Any]) -> int:
    device = choose_device(options["device"])
    folder = Path(options["output_dir"] or options["run"])
    there = [name for name in PICTURE_FILES if (folder / name).exists()]
    if there and not options["overwrite"]:
        raise ValueError(f"{folder} holds {', '.join(there)} already: give another --output-dir, or --overwrite")
    check_seed(options["seed"])
    run = load(options["run"], device=device)
    rows = rows_of_run(run, options["run"], root=options["data_root"])
    chosen = ("method", "rows", "num_rows", "dims", "variant_scale", "seed")
    pictures = draw_pictures(run, rows, PictureOptions(**{name: options[name] for name in chosen}), device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output-dir {folder}: it cannot be made ({error.strerror})") from error
    for name in there:
        (folder / name).unlink()
    for name, figure in pictures.figures.items():
        figure.savefig(folder / name, dpi=FILE_DPI, metadata=picture_metadata(rows.provenance()))
    print(f"{rows.summary()}\n{_report(pictures)}\nfolder: {folder}")
    return 0


def _report(pictures: Pictures) -> str:
    """What was drawn, and in a line for each reason what was not."""
    reasons: dict[str, list[str]] = {}
    for name, reason in pictures.left_out.items():
        reasons.setdefault(reason, []).append(name)
    drawn = f"\ndrawn: {', '.join(pictures.figures)}"
    return "\n".join([drawn, *(f"left out: {', '.join(names)}: {reason}" for reason, names in reasons.items())])


if __name__ == "__main__":
    sys.exit(main())
