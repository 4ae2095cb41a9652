"""Attacks as a part of the whole audit: asked after the metrics, in the record and on the page."""

from auditing import run

from space_cli.io.artifact import open_artifact

CHEAP = ("jailbreak", "quantize")


def test_what_attacks_find_stands_in_the_record_and_on_the_page(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images), metrics=("forget_accuracy",), attacks=CHEAP)
    rounded = {"attack_quantize_int8", "attack_quantize_rtn4"}
    assert {"forget_accuracy", "attack_jailbreak", *rounded} <= set(report.scores)
    assert {"forget_accuracy", "attack_jailbreak", "attack_quantize"} == set(report.seconds)
    for name in ("attack_jailbreak", *rounded):
        score = report.scores[name]
        assert score.before > 0.3
        assert (score.after, score.control, score.unattacked) == (0.0, 0.0, 0.0)
        assert score.n == 12
    assert report.scores["attack_quantize_int8"].parts["retained_after"] == 1.0
    assert open_artifact(tmp_path / "audit", "audit") == report
    page = (tmp_path / "audit" / "report.html").read_text()
    for name in ("attack_jailbreak", *rounded):
        assert f"<span class='code'>{name}</span>" in page
    assert "13 questions on 12 images of the concept" in page
    assert 'without the attack <span class="figure">0 %</span>' in page


def test_an_attack_that_needs_images_is_skipped_without_them(erased, tmp_path):
    report = run(erased, tmp_path / "audit", metrics=("text_knowledge",), attacks=("images", "probe"))
    absent = "needs `forget`: no folder of images was given"
    assert report.skipped == {"attack_images": absent, "attack_probe": absent}
    assert set(report.scores) == {"text_knowledge"}
