"""Prepare one concept of a data set for `space`, and print the commands to run.

python -m benchmarks.datasets stanford-dogs --data ./StanfordDogs --concept Chihuahua --out ./work
"""

import argparse
import sys

from collections.abc import Sequence
from pathlib import Path

from benchmarks.datasets import DataSet, names, open_dataset
from benchmarks.datasets._laying import Sizes, commands, prepare
from space_cli.cli.options import DEFAULT_ENCODER
from space_cli.core.errors import SpaceError

MODEL = "llava-hf/llava-1.5-7b-hf"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code, of the same meaning as those of `space`."""
    options = _parser().parse_args(arguments)
    try:
        dataset = open_dataset(options.name, options.data, seed=options.seed)
        if options.concept is None:
            _list(dataset)
            return 0
        sizes = Sizes(options.pool_per_concept, options.probe_per_concept)
        prepared = prepare(dataset, options.concept, options.out, sizes=sizes, leave_out=options.leave_out)
    except SpaceError as fault:
        hint = f"\nhint: {fault.hint}" if fault.hint else ""
        sys.stderr.write(f"error: {fault.message}{hint}\n")
        return fault.exit_code
    sys.stderr.write(
        f"{prepared.pool} photographs in the pool, none listed as `{prepared.concept.name}`; "
        f"{prepared.probe} in the probe\n"
    )
    print("\n".join(commands(prepared, model=options.model, encoder=options.encoder)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.datasets", description="Prepare a data set for `space`")
    parser.add_argument("name", choices=names())
    parser.add_argument("--data", type=Path, required=True, help="Folder where the set was unpacked")
    parser.add_argument("--concept", help="What to erase; without it the concepts are listed")
    parser.add_argument("--out", type=Path, default=Path("work"), help="New folder for pool/, forget/ and probe/")
    parser.add_argument(
        "--leave-out", action="append", default=[], help="Another concept to keep from the pool; repeatable"
    )
    parser.add_argument("--pool-per-concept", type=int, default=Sizes.pool)
    parser.add_argument("--probe-per-concept", type=int, default=Sizes.probe)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--seed", type=int, default=0, help="Splits sets that have no split of their own")
    return parser


def _list(dataset: DataSet) -> None:
    for concept in dataset.concepts:
        print(f"{concept.name}\t{concept.kind}\t{len(concept.train)}\t{len(concept.test)}")


if __name__ == "__main__":
    sys.exit(main())
