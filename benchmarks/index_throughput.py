"""How much of a bare forward loop's speed `space index` keeps, on this machine.

    python -m benchmarks.index_throughput [--images 1200] [--encoder FOLDER] [--repeats 3]

The forward loop embeds tensors that were decoded beforehand; `index` reads, hashes and decodes JPEG files,
loads the encoder, embeds, and writes shards, search index and record. Both run in turn, several times, in one
process. Without `--encoder` a CLIP of ViT-B/32 shape with random weights is made: its speed is real, its
embeddings are not.
"""

import argparse
import contextlib
import json
import platform
import statistics
import sys
import tempfile
import time

from pathlib import Path

import numpy as np
import torch

from PIL import Image
from tokenizers import Tokenizer, models
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, PreTrainedTokenizerFast

from space_cli.core import registry
from space_cli.core.protocols import Encoder, Silent
from space_cli.core.recipe import IndexRequest
from space_cli.io.devices import pick_device
from space_cli.io.images import decode
from space_cli.stages.index import index

SIZE = (640, 480)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--encoder", type=Path, help="Folder of a CLIP or SigLIP checkpoint")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = options.encoder or random_encoder(Path(place) / "encoder")
        pool = photographs(Path(place) / "pool", options.images)
        print(json.dumps(measure(folder, pool, Path(place), options), indent=2))


def measure(folder: Path, pool: Path, place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Time the loop and the stage in turn."""
    device = pick_device(options.device)
    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    encoder: Encoder = registry.load("encoders", model_type).load(folder, device)
    # A part of the pool, over and over: all of it as pixels would not fit in memory.
    files = sorted(pool.iterdir())[: 4 * options.batch_size]
    pictures = (decode(file.read_bytes(), max_pixels=10**8, side=encoder.side) for file in files)
    decoded = [encoder.preprocess(picture) for picture in pictures]
    encoder.images(torch.stack(decoded[: options.batch_size]))
    loops: list[float] = []
    stages: list[float] = []
    for turn in range(options.repeats):
        loops.append(options.images / forward(encoder, decoded, options.images, options.batch_size))
        stages.append(options.images / stage(folder, pool, place / f"out{turn}", options))
        print(f"loop {loops[-1]:.1f} images/s, index {stages[-1]:.1f} images/s", file=sys.stderr)
    return {
        "ratio": round(statistics.median(stages) / statistics.median(loops), 3),
        "ratios": [round(made / bare, 3) for made, bare in zip(stages, loops, strict=True)],
        "index_images_per_second": round(statistics.median(stages), 1),
        "loop_images_per_second": round(statistics.median(loops), 1),
        "images": options.images,
        "image_pixels": list(SIZE),
        "batch_size": options.batch_size,
        "workers": options.workers,
        "encoder": str(options.encoder or "CLIP ViT-B/32 shape, random weights"),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }


def forward(encoder: Encoder, decoded: list[torch.Tensor], images: int, batch: int) -> float:
    """Return the seconds that embedding `images` decoded tensors takes."""
    started = time.perf_counter()
    for start in range(0, images, batch):
        rows = [decoded[row % len(decoded)] for row in range(start, min(start + batch, images))]
        encoder.images(torch.stack(rows))
    return time.perf_counter() - started


def stage(folder: Path, pool: Path, out: Path, options: argparse.Namespace) -> float:
    """Return the seconds that the whole of `index` takes, writing included."""
    request = IndexRequest(
        sources=(str(pool),),
        encoder=str(folder),
        batch_size=options.batch_size,
        workers=options.workers,
        device=options.device,
    )
    started = time.perf_counter()
    manifest = index(request, out, progress=Silent())
    seconds = time.perf_counter() - started
    assert manifest.images == options.images, "every picture was embedded"
    return seconds


def photographs(folder: Path, count: int) -> Path:
    """Write JPEG files with the detail and the file size of ordinary photographs, about 90 kB each."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        coarse.resize(SIZE, Image.Resampling.BICUBIC).save(folder / f"{number:06}.jpg", quality=88)
    return folder


def random_encoder(folder: Path) -> Path:
    """Write a CLIP of ViT-B/32 shape with random weights, a small text tower and no real vocabulary."""
    torch.manual_seed(0)
    text = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 64, "eos_token_id": 3, "bos_token_id": 1, "pad_token_id": 0}
    with contextlib.redirect_stdout(sys.stderr):
        CLIPModel(CLIPConfig(text_config=text)).save_pretrained(folder)
        CLIPImageProcessorPil().save_pretrained(folder)
        words = {word: row for row, word in enumerate(("<pad>", "<s>", "<unk>", "</s>"))}
        plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
        PreTrainedTokenizerFast(
            tokenizer_object=plain, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
        ).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
