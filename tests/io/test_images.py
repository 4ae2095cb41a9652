"""A hostile or damaged picture costs a reason; a good one comes upright and in RGB."""

import io
import shutil
import struct
import zlib

import numpy as np
import pytest

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.types import Item
from space_cli.io.images import (
    MAX_ASPECT,
    WORKING_SIDE,
    ImageFault,
    content_hash,
    decode,
    header_size,
    load_items,
    pixels_of,
)
from space_cli.io.probe_images import probe_images

LIMIT = 64_000_000
FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP"]


def smooth(width=64, height=48):
    across = np.linspace(0, 255, width, dtype=np.float32)[None, :, None]
    down = np.linspace(0, 255, height, dtype=np.float32)[:, None, None]
    pixels = np.concatenate(np.broadcast_arrays(across, down, 255 - across), axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(width=60_000, height=60_000):
    """A PNG of a few bytes whose header claims gigabytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def framed(width, height):
    """A GIF of one pixel, as its header says, around a frame of many."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_decodes_to_the_same_picture(kind):
    found = decode(encoded(smooth(), kind), max_pixels=LIMIT)
    assert found.mode == "RGB"
    assert found.size == (64, 48)
    difference = np.abs(np.asarray(found, dtype=float) - np.asarray(smooth(), dtype=float)).mean()
    assert difference < 12, "a palette of 256 colours is the worst of them"
    assert header_size(encoded(smooth(), kind), max_pixels=LIMIT) == (64, 48)


@pytest.mark.parametrize("read", [decode, header_size])
def test_a_bomb_is_refused_on_its_header(read, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ImageFault, match="60000 x 60000 pixels are too many: at most 64000000"):
        read(bomb(), max_pixels=LIMIT)


@pytest.mark.parametrize("read", [decode, header_size])
@pytest.mark.parametrize(("side", "reason"), [(65_535, "too many pixels in a frame"), (9_000, "9000 x 9000 pixels")])
def test_a_frame_larger_than_its_header_says_is_refused(read, side, reason):
    with pytest.raises(ImageFault, match=reason):
        read(framed(side, side), max_pixels=LIMIT)


def test_the_limit_is_exact():
    data = encoded(smooth())
    assert decode(data, max_pixels=64 * 48).size == (64, 48)
    with pytest.raises(ImageFault, match="too many"):
        decode(data, max_pixels=64 * 48 - 1)


def test_a_strip_is_refused_before_resizing_could_blow_it_up():
    with pytest.raises(ImageFault, match="strip"):
        decode(encoded(smooth(MAX_ASPECT + 1, 1)), max_pixels=LIMIT)
    assert decode(encoded(smooth(MAX_ASPECT, 1)), max_pixels=LIMIT).size == (MAX_ASPECT, 1)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_an_error(kind, share):
    data = encoded(Image.effect_noise((90, 70), 80).convert("RGB"), kind)
    with pytest.raises(ImageFault):
        decode(data[: int(len(data) * share)], max_pixels=LIMIT, side=16)


@pytest.mark.parametrize("kind", FORMATS)
def test_flipped_bytes_give_a_picture_or_a_reason(kind):
    data = bytearray(encoded(smooth(), kind))
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            broken[place] = rng.integers(0, 256)
        try:
            outcome = decode(bytes(broken), max_pixels=LIMIT).mode
        except ImageFault as fault:
            outcome = fault.reason
        assert outcome
        assert "\n" not in outcome


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"BM"])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(ImageFault):
        decode(data, max_pixels=LIMIT)


def test_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    turned = decode(encoded(smooth(), "JPEG", exif=exif, quality=95), max_pixels=LIMIT)
    assert turned.size == (48, 64)
    expected = np.asarray(smooth().transpose(Image.Transpose.ROTATE_270), dtype=float)
    assert np.abs(np.asarray(turned, dtype=float) - expected).mean() < 3


def test_transparency_becomes_white_and_grey_stays_grey():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 4, 8))
    found = decode(encoded(clear), max_pixels=LIMIT)
    assert found.getpixel((6, 4)) == (255, 255, 255)
    assert found.getpixel((1, 4)) == (0, 0, 255)
    deep = Image.fromarray(np.full((8, 8), 0x8000, dtype=np.uint16))
    assert decode(encoded(deep), max_pixels=LIMIT).getpixel((0, 0)) == (128, 128, 128)


def test_draft_keeps_the_side_and_the_picture():
    big = smooth(1600, 1200)
    data = encoded(big, "JPEG", quality=95)
    small = decode(data, max_pixels=LIMIT, side=100)
    assert small.size == (200, 150), "an eighth, the smallest that JPEG offers"
    assert min(decode(data, max_pixels=LIMIT, side=200).size) >= 200
    assert decode(data, max_pixels=LIMIT).size == (1600, 1200)
    expected = np.asarray(big.resize(small.size), dtype=float)
    assert np.abs(np.asarray(small, dtype=float) - expected).mean() < 2


def item(folder, name, data):
    (folder / name).write_bytes(data)
    width, height = header_size(data, max_pixels=10**9)
    return Item(content_hash(data), str(folder), name, width, height)


def test_load_items_keeps_order_and_bounds_size(tmp_path):
    large = item(tmp_path, "b.png", encoded(Image.new("RGB", (3 * WORKING_SIDE, 2 * WORKING_SIDE), "red")))
    little = item(tmp_path, "a.jpg", encoded(smooth(), "JPEG"))
    found = load_items([large, little, large])
    assert [image.size[1] for image in found] == [WORKING_SIDE, 48, WORKING_SIDE]
    assert load_items([]) == []


def test_load_items_refuses_what_changed_or_vanished(tmp_path):
    one = item(tmp_path, "a.png", encoded(smooth()))
    (tmp_path / "a.png").write_bytes(encoded(smooth(20, 20)))
    with pytest.raises(ArtifactFault, match=r"a.png.*changed") as caught:
        load_items([one])
    assert "space index" in caught.value.hint
    (tmp_path / "a.png").unlink()
    with pytest.raises(ArtifactFault, match="gone"):
        load_items([one])


def probe_folder(tmp_path, names=("red_panda", "owl")):
    for name in names:
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.png").write_bytes(encoded(smooth(20 + number, 20)))
        (tmp_path / name / "notes.txt").write_text("not a picture")
    return tmp_path


def test_probe_images_names_concepts_by_folder(tmp_path):
    found = probe_images(probe_folder(tmp_path), limit=2)
    assert [probe.name for probe in found] == ["owl", "owl", "red panda", "red panda"]
    assert found[0].path == str(tmp_path / "owl" / "0.png")
    assert found[0].image.mode == "RGB"
    assert len(probe_images(tmp_path, limit=None)) == 6


def test_a_copy_of_a_picture_is_no_further_evidence(tmp_path):
    folder = probe_folder(tmp_path)
    first = min(next(path for path in sorted(folder.iterdir()) if path.is_dir()).iterdir())
    whole = probe_images(folder, limit=None)
    for number in range(3):
        shutil.copy(first, first.with_name(f"copy-{number}{first.suffix}"))
    assert [one.path for one in probe_images(folder, limit=None)] == [one.path for one in whole]
    assert len([one for one in probe_images(folder, limit=2) if one.name == whole[0].name]) == 2


def test_probe_images_refuses_what_it_cannot_use(tmp_path):
    with pytest.raises(UsageFault, match="not a folder"):
        probe_images(tmp_path / "absent", limit=None)
    with pytest.raises(UsageFault, match="no sub-folder"):
        probe_images(tmp_path, limit=None)
    folder = probe_folder(tmp_path)
    (folder / "empty").mkdir()
    with pytest.raises(ArtifactFault, match="empty` holds no image"):
        probe_images(folder, limit=None)
    (folder / "empty" / "cut.jpg").write_bytes(encoded(smooth(), "JPEG")[:200])
    with pytest.raises(ArtifactFault, match=r"cut.jpg.*damaged"):
        probe_images(folder, limit=None)


def test_an_image_processor_that_ends_elsewhere_is_refused():
    config = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    assert pixels_of(config, 32)(smooth()).shape == (3, 32, 32)
    for change in ({"size": {"height": 32, "width": 16}}, {"do_pad": True}, {"do_resize": False}):
        with pytest.raises(ArtifactFault, match="tower reads"):
            pixels_of({**config, **change}, 32)


def test_a_jpeg_of_endless_scans_is_refused_before_one_of_them(monkeypatch):
    stream = io.BytesIO()
    Image.new("L", (64, 64), 128).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data[data[: data.rfind(b"\xff\xda")].rfind(b"\xff\xc4") : -2]  # its table, and the scan
    # What follows the end is no scan, as in a photograph that has a film behind it.
    assert decode(data[:-2] + 20 * last + b"\xff\xd9" + 500 * last, max_pixels=10_000).size == (64, 64)
    monkeypatch.setattr(JpegImageFile, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ImageFault, match="a JPEG of more than 200 scans"):
        decode(data[:-2] + 500 * (last + b"a") + b"\xff\xd9", max_pixels=10_000)
