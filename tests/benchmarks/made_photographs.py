"""Folders of made-up photographs: four classes, each of one colour."""

import numpy as np

from PIL import Image

from benchmarks.datasets import open_dataset
from benchmarks.zoo import photographs
from benchmarks.zoo.classes import lessons

SHADES = {"fern": (30, 160, 40), "lemon": (230, 220, 40), "pond": (40, 60, 200), "rose": (210, 30, 60)}


def photo(path, shade, seed):
    noise = np.random.default_rng(seed).integers(-25, 26, (40, 52, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(shade) + noise).clip(0, 255).astype(np.uint8)).save(path)


def folder_of_classes(folder):
    for name, shade in SHADES.items():
        for row in range(6):
            photo(folder / name / f"{row}.png", shade, row)
    return folder


def views_of(data):
    found = lessons(open_dataset("folder", data), None)
    return found, photographs.read_photographs(found, [], data.parent / "photographs.safetensors")


KINDS = """
[fern]
kind = "plant"
home = "in a wood"
[lemon]
kind = "fruit"
home = "in a grove"
[pond]
kind = "landscape"
home = "behind the house"
[rose]
kind = "plant"
home = "in a garden"
name = "red rose"
"""
