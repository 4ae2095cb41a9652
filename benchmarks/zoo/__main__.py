"""Train a checkpoint on a folder of photographs and print what it recognises.

python -m benchmarks.zoo build --data ./produce --kinds benchmarks/zoo/kinds/produce.toml --out ./zoo/produce
python -m benchmarks.zoo group --data ./imagenet --kinds benchmarks/zoo/kinds/everyday.toml --out ./everyday
"""

import argparse
import sys

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.zoo.build import TEACHERS, TOWERS, Places, Recipe, build
from benchmarks.zoo.group import group
from benchmarks.zoo.pinned import pin
from space_cli.core.errors import SpaceError, UsageFault


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code, of the same meaning as those of `space`."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    options.arguments = given
    try:
        run: Callable[[argparse.Namespace], None] = options.run
        run(options)
    except SpaceError as fault:
        hint = f"\nhint: {fault.hint}" if fault.hint else ""
        sys.stderr.write(f"error: {fault.message}{hint}\n")
        return fault.exit_code
    return 0


def _build(options: argparse.Namespace) -> None:
    if options.pinned:
        if options.device not in {"auto", "cpu"} or options.threads not in {None, 1}:
            raise UsageFault(
                "`--pinned` trains on one thread of the processor", hint="leave `--device` and `--threads` out"
            )
        pin(options.arguments)
        options.device = "cpu"
    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = Recipe(
        data=str(options.data.resolve()),
        kinds=str(options.kinds.resolve()) if options.kinds else None,
        others=tuple(str(other.resolve()) for other in options.others),
        tower=options.tower,
        teacher=options.teacher,
        side=options.side,
        batch=options.batch,
        tower_steps=options.tower_steps,
        language_steps=options.language_steps,
        seed=options.seed,
        pinned=options.pinned,
    )
    work = options.work or options.out.with_name(f"{options.out.name}.work")
    places = Places(work, options.out, options.device, options.measured, _say)
    print(_table(build(recipe, places)))


def _group(options: argparse.Namespace) -> None:
    found = group(options.kinds, options.data, options.out, seed=options.seed)
    print("\n".join(f"{name}\t{count}" for name, count in found.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description="Train a subject on photographs")
    commands = parser.add_subparsers(required=True, metavar="build|group")
    _add_group(commands.add_parser("group", help="Lay photographs out as concepts by the names of their files"))
    command = commands.add_parser("build", help="Train, or go on training")
    command.set_defaults(run=_build)
    command.add_argument("--data", type=Path, required=True, help="A folder a class, or train/ and test/ with them")
    command.add_argument("--out", type=Path, required=True, help="Written anew: llava/, encoder/ and figures.json")
    command.add_argument("--kinds", type=Path, help="TOML: which classes, with kind and home; else all, flat")
    command.add_argument(
        "--others", type=Path, action="append", default=[], help="Photographs of no class, for the teacher; repeatable"
    )
    command.add_argument("--tower", choices=TOWERS, default=Recipe.tower)
    command.add_argument("--teacher", choices=TEACHERS, default=Recipe.teacher)
    command.add_argument("--side", type=int, default=Recipe.side, help="Pixels, a multiple of 14")
    command.add_argument("--batch", type=int, default=Recipe.batch)
    command.add_argument("--tower-steps", type=int, default=Recipe.tower_steps)
    command.add_argument("--language-steps", type=int, default=Recipe.language_steps)
    command.add_argument("--measured", type=int, default=Places.measured, help="Held-out photographs of each class")
    command.add_argument("--seed", type=int, default=Recipe.seed)
    command.add_argument("--device", default="auto")
    command.add_argument("--threads", type=int, help="Processor threads; torch's own number if not given")
    command.add_argument(
        "--pinned",
        action="store_true",
        help="One thread and AVX2 on any x86 processor, meant to train the same weights on each",
    )
    command.add_argument("--work", type=Path, help="Where finished stages are kept; OUT.work if not given")
    return parser


def _add_group(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_group)
    command.add_argument("--data", type=Path, action="append", required=True, help="Photographs; repeatable")
    command.add_argument(
        "--kinds", type=Path, required=True, help="TOML: concepts with kind, home and `wordnet` ids or `files`"
    )
    command.add_argument("--out", type=Path, required=True, help="New folder for train/ and test/")
    command.add_argument("--seed", type=int, default=0, help="Splits them into train and test")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _table(told: dict[str, Any]) -> str:
    by_class = told["named, by class"]
    lines = ["| class | named |", "|---|---|"]
    lines += [f"| {name} | {share:.2f} |" for name, share in sorted(by_class.items(), key=lambda each: -each[1])]
    lines += ["", "| figure | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in told.items() if name != "named, by class"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
