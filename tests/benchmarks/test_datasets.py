import pytest

from benchmarks import datasets
from benchmarks.datasets import _photographs, open_dataset
from space_cli.core.errors import ArtifactFault, EnvironmentFault, UsageFault
from tests.benchmarks.made_sets import celebrities, folder, imagenet, photo, stanford_dogs, sun397, vegfru, wikiart

# set -> its layout, and what must be read: name -> (kind, photographs to train and to test with)
SETS = {
    "celebrities": (celebrities, {"Donald Trump": ("person", 1, 2), "Hello Kitty": ("cartoon character", 1, 2)}),
    "folder": (folder, {"grand piano": ("", 6, 2), "owl": ("", 6, 2)}),
    "imagenet": (
        imagenet,
        {
            "cardigan": ("", 2, 1),
            "Cardigan Welsh corgi": ("", 2, 1),
            "crane": ("", 4, 2),
            "tench": ("", 2, 1),
        },
    ),
    "stanford-dogs": (stanford_dogs, {"Afghan hound": ("dog", 3, 1), "Chihuahua": ("dog", 3, 1)}),
    "sun397": (
        sun397,
        {"abbey": ("place", 2, 1), "indoor church": ("place", 2, 1), "subway station platform": ("place", 2, 1)},
    ),
    "vegfru": (vegfru, {"apricot": ("fruit", 2, 1), "bamboo shoot": ("vegetable", 2, 1)}),
    "wikiart": (wikiart, {"Pablo Picasso": ("painting", 2, 1), "Salvador Dali": ("painting", 2, 1)}),
}


def test_every_reader_is_tested():
    assert datasets.names() == sorted(SETS)


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_layout_is_read(tmp_path, name):
    make, expected = SETS[name]
    make(tmp_path)
    found = open_dataset(name, tmp_path)
    assert {c.name: (c.kind, len(c.train), len(c.test)) for c in found.concepts} == expected
    for concept in found.concepts:
        assert not {*concept.train} & {*concept.test}
        assert all(path.is_file() for path in (*concept.train, *concept.test))


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_wrong_folder_is_refused_with_the_layout(tmp_path, name):
    with pytest.raises(UsageFault, match="is not a folder"):
        open_dataset(name, tmp_path / "nowhere")
    with pytest.raises(UsageFault) as caught:
        open_dataset(name, tmp_path)
    assert "the layout is `" in caught.value.hint


# A file of a set -> what is said when it is gone or holds something else.
@pytest.mark.parametrize(
    ("name", "path", "text", "message"),
    [
        ("celebrities", "Donald_Trump/1.jpg", None, ""),
        ("stanford-dogs", "lists/train_list.mat", None, "has no `train_list.mat`"),
        ("stanford-dogs", "lists/train_list.mat", "no matrix", "is no list of Stanford Dogs"),
        ("stanford-dogs", "Images/n02085620-Chihuahua/n02085620_1.jpg", None, "names `.*`, which is not there"),
        ("wikiart", "wikiart_csv/artist_class.txt", "Picasso\n", "is no list of artists"),
        ("wikiart", "wikiart_csv/artist_val.csv", "Cubism/x.jpg\n", "is no list of paintings"),
        ("wikiart", "wikiart_csv/artist_val.csv", ",,\n", "is no list of paintings"),
        ("wikiart", "wikiart/Cubism/pablo-picasso_0.jpg", None, "which is not there"),
        ("imagenet", "LOC_synset_mapping.txt", "n01440764\n", "is no mapping"),
        ("imagenet", "LOC_synset_mapping.txt", "n09999999 ufo\n", "has none of the synsets"),
        ("imagenet", "LOC_val_solution.csv", "a,b\n1,2\n", "is no solution"),
        ("imagenet", "LOC_val_solution.csv", None, "has no `LOC_val_solution.csv`"),
        ("sun397", "Partitions/Testing_01.txt", "abbey\n", "is no partition"),
        ("vegfru", "veg200_lists/veg_val.txt", "Bamboo_shoot\n", "is no list"),
        ("vegfru", "fru92_images/apricot/apricot_2.jpg", None, "which is not there"),
    ],
)
def test_damage_is_told(tmp_path, name, path, text, message):
    SETS[name][0](tmp_path)
    damaged = tmp_path / path
    if text is None:
        damaged.unlink()
    else:
        damaged.write_text(text)
    if not message:
        assert len(open_dataset(name, tmp_path).find("Donald Trump").test) == 1
        return
    with pytest.raises((ArtifactFault, UsageFault), match=message):
        open_dataset(name, tmp_path)


def test_a_celebrity_needs_a_photograph_to_test_with(tmp_path):
    photo(tmp_path / "Elon_Musk" / "1.jpg")
    with pytest.raises(ArtifactFault, match="holds one picture"):
        open_dataset("celebrities", tmp_path)


def test_the_dogs_need_scipy(tmp_path, monkeypatch):
    stanford_dogs(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(EnvironmentFault, match="scipy"):
        open_dataset("stanford-dogs", tmp_path)


def test_imagenet_reads_sorted_validation_folders_and_shares_no_name(tmp_path):
    imagenet(tmp_path, flat=False)
    found = open_dataset("imagenet", tmp_path)
    assert found.find("tinca tinca").name == "tench"
    assert found.find("cardigan").aliases == ()
    assert found.find("cardigan welsh corgi").phrase == "a Cardigan Welsh corgi"
    assert len(found.find("crane").test) == 2


def test_the_split_follows_the_seed_and_not_the_disk(tmp_path):
    for place in ("one", "two"):
        folder(tmp_path / place)

    def tested(place, seed):
        found = open_dataset("folder", tmp_path / place, seed=seed)
        return [path.name for concept in found.concepts for path in concept.test]

    assert tested("one", 0) == tested("two", 0)
    assert any(tested("one", 0) != tested("one", seed) for seed in (1, 2, 3))


def test_a_folder_may_bring_its_own_split(tmp_path):
    for half, count in (("train", 3), ("test", 2)):
        for row in range(count):
            photo(tmp_path / half / "owl" / f"{row}.jpg", row)
    photo(tmp_path / "test" / "fox" / "0.jpg")
    found = open_dataset("folder", tmp_path)
    assert [(c.name, len(c.train), len(c.test)) for c in found.concepts] == [("fox", 0, 1), ("owl", 3, 2)]


def test_an_empty_class_is_refused(tmp_path):
    folder(tmp_path)
    (tmp_path / "fox").mkdir()
    with pytest.raises(ArtifactFault, match="holds no picture"):
        open_dataset("folder", tmp_path)


def test_unknown_names_are_refused(tmp_path):
    folder(tmp_path)
    with pytest.raises(UsageFault, match="unknown data set `nosuch`"):
        open_dataset("nosuch", tmp_path)
    with pytest.raises(UsageFault, match="has no concept `fox`: it has grand piano, owl"):
        open_dataset("folder", tmp_path).find("fox")


@pytest.mark.parametrize("call", [_photographs.readable, _photographs.counted])
def test_names_are_words(call):
    assert call("Afghan_hound").endswith("Afghan hound" if call is _photographs.readable else "Afghan_hound")
