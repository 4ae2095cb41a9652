"""Make the bundled checkpoint: tokenizer, tower, language model, figures.

    python -m training.bundled --work build/bundled --out space_cli/bundled/weights

Seeded; about 45 minutes on 2 cores. A finished stage is kept in the work folder and not repeated.
"""

import argparse

from pathlib import Path

import torch

from tokenizers import Tokenizer
from transformers import CLIPModel

from training import corpus, pictures, tower

VOCABULARY = 1600


def main() -> None:
    """Run every stage that the work folder lacks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/bundled"))
    parser.add_argument("--out", type=Path, default=Path("space_cli/bundled/weights"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tower-minutes", type=float, default=18)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(options.work, options.seed)
    views = _views(options.work, options.threads)
    encoder = _encoder(options.work, views, tokenizer, options)
    print(f"{sum(p.numel() for p in encoder.parameters())} encoder parameters, {len(views.pixels)} views")


def _tokenizer(work: Path, seed: int) -> Tokenizer:
    path = work / "tokenizer.json"
    if not path.exists():
        corpus.fit_tokenizer(VOCABULARY, seed).save(str(path))
    return Tokenizer.from_file(str(path))


def _views(work: Path, workers: int) -> pictures.Views:
    return pictures.Views(workers)


def _encoder(work: Path, views: pictures.Views, tokenizer: Tokenizer, options: argparse.Namespace) -> CLIPModel:
    folder = work / "encoder"
    if not folder.exists():
        ended = corpus.with_ends(tokenizer, end=True)
        made = tower.train(views, ended, minutes=options.tower_minutes, batch=128, seed=options.seed)
        made.save_pretrained(folder)
    return CLIPModel.from_pretrained(folder).eval()


if __name__ == "__main__":
    main()
