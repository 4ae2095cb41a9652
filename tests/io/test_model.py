import json
import shutil

import pytest
import subjects
import torch

from safetensors.torch import load_file, save_file

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.bundled.concepts import find
from space_cli.bundled.drawings import render
from space_cli.core.errors import ArtifactFault, EnvironmentFault
from space_cli.core.losses import answer_log_likelihood, next_labels, token_log_likelihood
from space_cli.core.types import Prompt
from space_cli.io.devices import pick_device
from space_cli.io.model import open_model


@pytest.fixture
def image():
    return render(find("owl").symbol, "colour", 3_600_000)


def test_logits_equal_those_of_the_whole_model(image):
    responder = subjects.bundled()
    batch = responder.batch([Prompt("What is this?", "This is an owl.", 0)])
    pixels = responder._processor(images=[image], return_tensors="pt")["pixel_values"]
    whole = responder.model(input_ids=batch.ids, pixel_values=pixels, attention_mask=batch.mask).logits
    split = responder._head(responder.read(batch, responder.features([image])))
    torch.testing.assert_close(split, whole, rtol=1e-4, atol=1e-4)


def test_logits_of_answers_are_those_of_their_positions(image):
    responder = subjects.bundled()
    features = responder.features([image])
    long, short = Prompt("What does this picture show?", "This is an owl.", 0), Prompt("Is it?", "Yes.", 0)
    batch = responder.batch([long, short])
    every = responder._head(responder.read(batch, features))
    some = responder.answer_logits(batch, features)
    expected = [every[row, place - 1] for row, place in (batch.labels != -100).nonzero().tolist()]
    torch.testing.assert_close(some, torch.stack(expected), rtol=1e-4, atol=1e-4)
    spoken = [int(label) for labels in batch.labels for label in labels if label != -100]
    assert next_labels(batch).tolist() == spoken
    chances = [float(row.log_softmax(-1)[token]) for row, token in zip(expected, spoken, strict=True)]
    assert token_log_likelihood(some, batch).tolist() == pytest.approx(chances, abs=1e-4)
    first = sum(1 for label in batch.labels[0] if label != -100)
    means = [sum(chances[:first]) / first, sum(chances[first:]) / (len(chances) - first)]
    assert answer_log_likelihood(some, batch).tolist() == pytest.approx(means, abs=1e-4)


def test_a_prompt_without_an_answer_has_no_logits(image):
    responder = subjects.bundled()
    batch = responder.batch([Prompt("What is this?", "", 0)])
    assert len(responder.answer_logits(batch, responder.features([image]))) == 0


def test_padding_changes_no_likelihood(image):
    responder = subjects.bundled()
    features = responder.features([image])
    short = Prompt("What is this?", "This is an owl.", 0)
    long = Prompt("Can you tell me what this shows?", "This shows an owl.", 0)
    alone = responder.log_likelihood(responder.batch([short]), features)
    together = responder.log_likelihood(responder.batch([short, long]), features)
    assert float(alone[0]) == pytest.approx(float(together[0]), abs=1e-4)


def test_it_knows_its_picture_and_its_word(image):
    responder = subjects.bundled()
    assert "owl" in responder.answer([image], ["What is this?"])[0]
    assert "animal" in responder.answer(None, ["What kind of thing is an owl?"])[0]


def test_a_lead_is_given_and_not_scored(image):
    responder = subjects.bundled()
    batch = responder.batch([Prompt("What is this?", "an owl", 0, lead="This is", ends=False)])
    scored = batch.labels[batch.labels != -100]
    assert responder._tokenizer.decode(scored).split() == ["an", "owl"]
    whole = responder.batch([Prompt("What is this?", "This is an owl", 0, ends=False)])
    assert torch.equal(batch.ids, whole.ids)
    features = responder.features([image])
    assert answer_log_likelihood(responder.answer_logits(batch, features), batch).shape == (1,)


def test_features_are_differentiable_through_the_logits(image):
    responder = subjects.bundled()
    features = responder.features([image]).requires_grad_(True)
    batch = responder.batch([Prompt("What is this?", "This is an owl.", 0)])
    answer_log_likelihood(responder.answer_logits(batch, features), batch).sum().backward()
    assert features.grad.abs().sum() > 0


def test_an_unknown_family_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen9_vl"}))
    with pytest.raises(ArtifactFault, match="family `qwen9_vl`: known are llava"):
        open_model(tmp_path, device="cpu")


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json"])
def test_a_config_that_says_nothing_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ArtifactFault, match=r"config\.json"):
        open_model(tmp_path, device="cpu")


def test_a_corrupt_shard_is_one_line(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(checkpoint_folder(), folder)
    shard = folder / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(ArtifactFault, match="is corrupt or truncated") as fault:
        open_model(folder, device="cpu")
    assert "\n" not in str(fault.value)


HEAD, WORDS = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"


def without(folder, *gone, tied=False):
    """Copy the bundled checkpoint without some of its parameters."""
    shutil.copytree(checkpoint_folder(), folder)
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = tied
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(gone)}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_missing_weights_are_named_and_not_drawn_at_random(tmp_path):
    with pytest.raises(ArtifactFault, match=r"lacks the parameters `lm_head\.weight`$"):
        open_model(without(tmp_path / "head", HEAD), device="cpu")
    with pytest.raises(ArtifactFault, match=r"`model\.vision_tower\..*, .*, .* and \d+ more$"):
        open_model(without(tmp_path / "tower", "vision_tower"), device="cpu")


def test_a_tied_weight_is_stored_once(tmp_path):
    model = open_model(without(tmp_path / "tied", HEAD, tied=True), device="cpu").model
    assert torch.equal(model.get_output_embeddings().weight, load_file(tmp_path / "tied" / "model.safetensors")[WORDS])
    with pytest.raises(ArtifactFault, match="embed_tokens"):
        open_model(without(tmp_path / "neither", HEAD, WORDS, tied=True), device="cpu")


def test_cuda_is_asked_for_only_where_there_is_one():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(EnvironmentFault, match="no CUDA device"):
        pick_device("cuda")
    assert pick_device("auto") == "cpu"


def test_where_memory_is_scarce_the_same_answers_are_written_a_few_at_a_time(image, monkeypatch):
    responder = subjects.bundled()
    features, questions = responder.features([image, image]), ["What is this?", "What do you see?"]
    wanted, sizes = responder.answer_features(features, questions), []
    write = responder._generate
    monkeypatch.setattr(responder, "_generate", lambda asked, *rest: sizes.append(len(asked)) or write(asked, *rest))
    monkeypatch.setattr("space_cli.io.model.answers_at_once", lambda model, visual, tokens: 1)
    assert responder.answer_features(features, questions) == wanted
    assert sizes == [1, 1]
