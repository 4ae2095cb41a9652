"""The official layouts of the data sets, each with a few made-up pictures."""

from PIL import Image


def photo(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 90, 40)).save(path, "JPEG")
    return path


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def celebrities(root):
    for row in range(3):
        photo(root / "Donald_Trump" / f"{row}.jpg", row)
        photo(root / "Hello_Kitty" / f"{row}.jpg", row + 3)


def stanford_dogs(root):
    from scipy.io import savemat

    members = {}
    for synset in ("n02085620-Chihuahua", "n02088094-Afghan_hound"):
        for row in range(4):
            member = f"{synset}/{synset[:9]}_{row}.jpg"
            photo(root / "Images" / member, row)
            members.setdefault("train" if row < 3 else "test", []).append(member)
    import numpy as np

    for half, names in members.items():
        cells = np.empty((len(names), 1), dtype=object)
        cells[:, 0] = names
        (root / "lists").mkdir(exist_ok=True)
        savemat(root / "lists" / f"{half}_list.mat", {"file_list": cells, "labels": np.ones((len(names), 1))})


def wikiart(root):
    for row in range(3):
        photo(root / "wikiart" / "Cubism" / f"pablo-picasso_{row}.jpg", row)
        photo(root / "wikiart" / "Surrealism" / f"salvador-dali_{row}.jpg", row)
    lists = root / "wikiart_csv"
    written(lists / "artist_class.txt", "15 Pablo_Picasso\n21 Salvador_Dali\n")
    rows = [f"Cubism/pablo-picasso_{row}.jpg,15\nSurrealism/salvador-dali_{row}.jpg,21\n" for row in range(3)]
    written(lists / "artist_train.csv", rows[0] + rows[1])
    # As the lists are in the set's repository.
    written(lists / "artist_val.csv", "(Path to image),, (Groundtruth class)\n\n" + rows[2].replace(",", ",,"))


SYNSETS = """n01440764 tench, Tinca tinca
n02012849 crane
n03126707 crane
n02113186 Cardigan, Cardigan Welsh corgi
n02963159 cardigan
"""


def imagenet(root, *, flat=True):
    written(root / "LOC_synset_mapping.txt", SYNSETS)
    images = root / "ILSVRC" / "Data" / "CLS-LOC"
    rows = ["ImageId,PredictionString"]
    for number, synset in enumerate(line.split()[0] for line in SYNSETS.splitlines()):
        for row in range(2):
            photo(images / "train" / synset / f"{synset}_{row}.JPEG", row)
        name = f"ILSVRC2012_val_{number:08d}"
        photo(images / "val" / ("" if flat else synset) / f"{name}.JPEG", number)
        rows.append(f"{name},{synset} 1 2 3 4")
    if flat:
        written(root / "LOC_val_solution.csv", "\n".join(rows))


def sun397(root):
    scenes = ("/a/abbey", "/c/church/indoor", "/s/subway_station/platform")
    for scene in scenes:
        for row in range(3):
            photo(root / "SUN397" / scene[1:] / f"sun_{row}.jpg", row)
    lists = root / "Partitions"
    written(lists / "ClassName.txt", "\n".join(scenes) + "\n")
    written(lists / "Training_01.txt", "\n".join(f"{scene}/sun_{row}.jpg" for scene in scenes for row in (0, 1)))
    written(lists / "Testing_01.txt", "\n".join(f"{scene}/sun_2.jpg" for scene in scenes))


def vegfru(root):
    for short, long, name in (("veg", "veg200", "Bamboo_shoot"), ("fru", "fru92", "apricot")):
        for row, half in enumerate(("train", "val", "test")):
            photo(root / f"{long}_images" / name / f"{name}_{row}.jpg", row)
            written(root / f"{long}_lists" / f"{short}_{half}.txt", f"{name}/{name}_{row}.jpg 7\n")


def folder(root):
    for name in ("grand_piano", "owl"):
        for row in range(8):
            photo(root / name / f"{row}.jpg", row)
