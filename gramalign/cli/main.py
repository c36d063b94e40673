"""Where `gramalign ...` arrives: find the command, read its options, run it, explain its errors."""

import sys
from collections.abc import Sequence
from typing import Annotated

import rich.console
import rich.markup
import tyro

from gramalign.cli.bench import Bench
from gramalign.cli.compare import Compare
from gramalign.cli.embed import Embed
from gramalign.cli.evaluate import Evaluate
from gramalign.cli.plan import Plan
from gramalign.cli.presets import preset
from gramalign.cli.train import Train
from gramalign.training import NonFiniteLoss

DESCRIPTION = """Align any number of modalities in one space, and measure how well they agree.

Start with: gramalign train digits
Then: gramalign evaluate runs/digits"""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: the words after `gramalign`; None: those the process was started with.

    Raises:
        SystemExit: with status 2 for options that make no sense, 1 for a run that failed.
    """
    args = list(sys.argv[1:] if args is None else args)
    errors = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        _read(args).run()
    except (ValueError, OSError) as error:
        errors.print(f"[bold red]error:[/] {rich.markup.escape(str(error))}")
        raise SystemExit(2) from error
    except NonFiniteLoss as error:
        errors.print(f"[bold red]stopped:[/] {rich.markup.escape(str(error))}")
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        goes_on = "; --resume goes on from the last checkpoint" if args[:1] == ["train"] else ""
        errors.print(f"interrupted{goes_on}")
        raise SystemExit(130) from None


def _read(args: list[str]) -> Train | Evaluate | Embed | Compare | Bench | Plan:
    # The preset's values are the defaults of all other options, so it has to be known before
    # these can be read: it is the word after the command, if that is not an option.
    named = args[1] if len(args) > 1 and not args[1].startswith("-") else "digits"
    start = preset(named) if args[:1] in (["train"], ["compare"], ["plan"]) else preset("digits")

    def command(name: str, default: object) -> object:
        return tyro.conf.subcommand(name, default=default, prefix_name=False)

    return tyro.cli(
        Annotated[Train, command("train", Train(named, config=start))]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate", prefix_name=False)]
        | Annotated[Embed, tyro.conf.subcommand("embed", prefix_name=False)]
        | Annotated[Compare, command("compare", Compare(named, config=start))]
        | Annotated[Bench, tyro.conf.subcommand("bench", prefix_name=False)]
        | Annotated[Plan, command("plan", Plan(named, config=start))],
        prog="gramalign",
        description=DESCRIPTION,
        args=args,
    )
