"""Make the bundled checkpoint: tokenizer, tower, language model, figures.

    python -m training.bundled --work build/bundled --out space_cli/bundled/weights

Seeded; about an hour on 2 cores. A finished stage is kept in the work folder and not repeated.
"""

import argparse
import hashlib
import json

from pathlib import Path

import torch

from tokenizers import Tokenizer
from transformers import CLIPModel, LlavaForConditionalGeneration

from space_cli.io.model import CheckpointResponder
from training import corpus, figures, language, pictures, tower
from training.publishing import publish

VOCABULARY = 1600


def main() -> None:
    """Run every stage that the work folder lacks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/bundled"))
    parser.add_argument("--out", type=Path, default=Path("space_cli/bundled/weights"))
    parser.add_argument("--foreign-font", type=Path, help="A colour emoji font never trained on, to measure with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tower-steps", type=int, default=1500)
    parser.add_argument("--language-steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="Processes that render")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(options.work, options.seed)
    if not (options.work / "llava").exists():
        views = pictures.Views(options.workers)
        encoder = _encoder(options.work, views, tokenizer, options)
        _llava(options.work, views, encoder, tokenizer, options)
    _publish(options.work, options.out, tokenizer)
    measured = figures.measure(options.out, foreign=options.foreign_font)
    (options.out / "figures.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    _sums(options.out)
    print(json.dumps(measured, indent=2))


def _tokenizer(work: Path, seed: int) -> Tokenizer:
    path = work / "tokenizer.json"
    if not path.exists():
        corpus.fit_tokenizer(VOCABULARY, seed).save(str(path))
    return Tokenizer.from_file(str(path))


def _encoder(work: Path, views: pictures.Views, tokenizer: Tokenizer, options: argparse.Namespace) -> CLIPModel:
    folder = work / "encoder"
    if not folder.exists():
        ended = corpus.with_ends(tokenizer, end=True)
        made = tower.train(views, ended, steps=options.tower_steps, batch=128, seed=options.seed)
        made.save_pretrained(work / "encoder-first")
        made = tower.train(views, ended, steps=options.tower_steps, batch=128, seed=options.seed + 1, start=made)
        made.save_pretrained(folder)
    return CLIPModel.from_pretrained(folder).eval()


def _llava(
    work: Path, views: pictures.Views, encoder: CLIPModel, tokenizer: Tokenizer, options: argparse.Namespace
) -> None:
    responder: CheckpointResponder = language.build(encoder, corpus.with_ends(tokenizer, end=False))
    features = language.cache_features(responder, views)
    phases = (("llava-first", corpus.NAMING), ("llava-second", corpus.COMPARING), ("llava", corpus.DENYING))
    for number, (name, weights) in enumerate(phases):
        if (work / name).exists():
            responder.model.load_state_dict(
                LlavaForConditionalGeneration.from_pretrained(work / name, dtype=torch.float32).state_dict()
            )
            continue
        language.train(
            responder,
            views,
            features,
            steps=options.language_steps,
            batch=56,
            seed=options.seed + number,
            weights=weights,
        )
        responder.model.save_pretrained(work / name)


def _publish(work: Path, out: Path, tokenizer: Tokenizer) -> None:
    """Round to float16, as LLaVA-1.5 is published, and add processors and tokenizers."""
    llava = LlavaForConditionalGeneration.from_pretrained(work / "llava", dtype=torch.float16)
    encoder = CLIPModel.from_pretrained(work / "encoder", dtype=torch.float16)
    publish(llava, encoder, tokenizer, language.image_processor(), out)


def _sums(out: Path) -> None:
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(out).as_posix()}" for p in files]
    (out / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{sum(p.stat().st_size for p in files) / 1e6:.1f} MB in {len(files)} files")


if __name__ == "__main__":
    main()
