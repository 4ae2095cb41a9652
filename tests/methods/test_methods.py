"""Laws that every source-free method obeys, on the bundled checkpoint with a tiny budget."""

import pytest
import subjects
import torch

from space_cli.core import isolation, registry, watch
from space_cli.core.budget import broken, cost, lost_names
from space_cli.core.context import Budget
from space_cli.core.errors import UsageFault
from space_cli.core.isolation import drift, drift_terms
from space_cli.core.linalg import leak_share

QUICK = {
    "dcsi": {
        "steps": 16, "lr": 3e-2, "refresh": 6, "refresh_rows": 4, "harden_steps": 12, "fresh_steps": 12, "batch": 6,
        "retain_batch": 8, "check": 6, "rehearsals": 0,
    },
    "space-paper": {"steps": 6, "batch": 6},
}  # fmt: skip


def run(name, context, **changes):
    method = registry.load("methods", name)
    return list(method.edits(context, method.Options(**(QUICK[name] | changes))))


@pytest.fixture(scope="module")
def erased():
    found = subjects.context()
    return found, run("dcsi", found)


def test_every_source_free_method_that_trains_has_a_quick_setting():
    modules = {name: registry.load("methods", name) for name in registry.names("methods")}
    trained = {name for name, found in modules.items() if not getattr(found, "NEEDS_IMAGES", False)} - {"prompt"}
    assert set(QUICK) == trained


def test_the_name_fades_on_pictures_that_erasing_never_saw(erased):
    found, edits = erased
    before = subjects.log_p(found, [], subjects.concept_features())
    after = subjects.log_p(found, edits, subjects.concept_features())
    assert before > -0.5
    assert after < before - 1.0


def leaked_by_size(found, edits):
    for edit in edits:
        weight = found.weight(edit.layer)
        leak = leak_share(edit.delta(), weight, found.moment(edit.layer))
        yield leak / float(edit.delta().norm() / weight.norm())


def test_edits_leak_less_onto_retained_keys_than_their_size():
    found = subjects.context()
    assert max(leaked_by_size(found, run("dcsi", found, leak=0.014))) < 0.2


def test_edits_of_the_default_width_leak_little_more(erased):
    assert max(leaked_by_size(*erased)) < 0.25  # found: .22; without a projection .25 to .75


def test_edits_lie_in_the_safe_subspace_to_the_last_bit_of_float32(erased):
    found, edits = erased
    for edit in edits:
        basis = found.safe_basis(edit.layer, registry.load("methods", "dcsi").Options().leak).float()
        outside = edit.delta() - edit.delta() @ basis @ basis.T
        assert float(outside.norm()) < 1e-5 * max(float(edit.delta().norm()), 1e-9)


@pytest.mark.parametrize("name", list(QUICK))
@pytest.mark.parametrize("scope", ["connector", "blocks", "vision", "all"])
def test_every_scope_can_be_erased_in(name, scope):
    """Text alone passes no connector: its terms have no gradient there, and the others have."""
    layers = subjects.bundled().family.layers(scope)
    found = subjects.context(scope=scope)
    edits = run(name, found, **({"steps": 4, "check": 2, "least": 2} if name == "dcsi" else {"steps": 2}))
    assert {edit.layer for edit in edits} == {layer for layer in layers}
    assert all(float(edit.delta().norm()) > 0 for edit in edits)


def test_over_the_retain_budget_training_goes_on_with_the_neighbours_that_lost_their_names():
    rough = {"lr": 6e-2, "leak": 0.06, "lambda_retain": 0.0}  # or no name is lost
    found, limited = subjects.context(), subjects.context(budget=Budget(neighbours=0.0))
    edits, repaired = run("dcsi", found, **rough), run("dcsi", limited, repairs=1, **rough)
    lost = lost_names(found, {e.layer: (e.left, e.right) for e in edits})
    assert lost
    assert all(prompt.image in found.rows["neighbour"] for prompt in lost)
    assert limited.outcome.steps == found.outcome.steps + QUICK["dcsi"]["check"]
    assert "more to keep the retain budget" in limited.outcome.stopped
    batch = found.responder.batch(lost)
    with torch.no_grad():
        before, after = (
            float(drift(found, batch, found.features, {e.layer: (e.left, e.right) for e in some}, {}))
            for some in (edits, repaired)
        )
    assert after < before


def test_where_the_drift_of_answers_alone_is_over_the_budget_the_change_is_scaled_down_to_it(monkeypatch):
    monkeypatch.setattr(watch, "FORGOTTEN", 100.0)  # whatever a look finds, the name is gone
    unmended = {"repairs": 0}
    found = subjects.context()
    edits = run("dcsi", found, **unmended)
    drifted = cost(found, {edit.layer: (edit.left, edit.right) for edit in edits})["retain_kl"]
    limited = subjects.context(budget=Budget(retain_kl=drifted / 2))
    eased = run("dcsi", limited, **unmended)
    assert cost(found, {edit.layer: (edit.left, edit.right) for edit in eased})["retain_kl"] <= drifted / 2
    shares = {float(one.left.norm() / other.left.norm()) for one, other in zip(eased, edits, strict=True)}
    assert max(shares) - min(shares) < 1e-4
    assert 0.5 < max(shares) < 0.98 * 0.5**0.5 + 0.05
    assert "% to keep the retain budget" in limited.outcome.stopped


def test_a_change_is_not_scaled_down_where_the_name_would_come_back(monkeypatch):
    monkeypatch.setattr(watch, "FORGOTTEN", -100.0)  # whatever a look finds, the name is there
    unmended = {"repairs": 0, "widenings": 0}
    plain = run("dcsi", subjects.context(), **unmended)
    limited = run("dcsi", subjects.context(budget=Budget(retain_kl=0.0)), **unmended)
    for one, other in zip(plain, limited, strict=True):
        assert torch.equal(one.left, other.left)


def test_a_subspace_that_is_too_narrow_is_widened_and_a_killed_run_remembers_it(monkeypatch):
    # Whatever a look finds, the name is there, and whatever it adds is too little.
    monkeypatch.setattr(watch, "FORGOTTEN", -100.0)
    monkeypatch.setattr(watch, "RISE", 100.0)
    stuck = {"steps": 12, "check": 2, "least": 6, "prolonged": 3, "widenings": 1}
    first = subjects.context()
    plain = run("dcsi", first, **(stuck | {"widenings": 0}))
    assert first.outcome.steps == 12
    first = subjects.context()
    edits = run("dcsi", first, **stuck)
    assert first.outcome.steps == 15
    assert "widened 1 times" in first.outcome.stopped
    leak = registry.load("methods", "dcsi").Options().leak
    for narrow, wide in zip(plain, edits, strict=True):
        rank = len(narrow.right)
        assert torch.equal(wide.right[:rank], narrow.right)
        assert len(wide.right) > rank
        basis = first.safe_basis(wide.layer, 2 * leak).float()
        assert float((wide.delta() - wide.delta() @ basis @ basis.T).norm()) < 1e-5 * float(wide.delta().norm())
    assert [state.step for state in first.states] == [6, 12]
    again = run("dcsi", subjects.context(saved=first.states[1]), **stuck)
    assert all(torch.equal(one.left, other.left) for one, other in zip(edits, again, strict=True))


def test_where_nothing_is_pushed_anew_the_stop_rule_waits_for_no_push(monkeypatch):
    # Whatever a look finds, the name is gone and denied.
    monkeypatch.setattr(watch, "FORGOTTEN", 100.0)
    monkeypatch.setattr(watch, "AFFIRMED", 2.0)
    found = subjects.context()
    run("dcsi", found, steps=12, check=2, least=4, refresh=0)
    assert found.outcome.steps == 4
    assert found.outcome.stopped.startswith("held-out anchors")
    assert "pushed_nll" not in found.outcome.signals


def test_the_drift_of_parts_is_that_of_the_whole(erased, monkeypatch):
    found, edits = erased
    factors = {e.layer: (e.left, e.right) for e in edits}
    prompts = found.knowledge.retained[:7]
    whole = list(drift_terms(found, prompts, found.features, factors))
    monkeypatch.setattr(isolation, "rows_at_once", lambda *_: 3)
    parts = list(drift_terms(found, prompts, found.features, factors))
    assert (len(whole), len(parts)) == (1, 3)
    assert float(sum(parts)) == pytest.approx(float(whole[0]), rel=1e-4)
    assert list(drift_terms(found, [], found.features, factors)) == []


def test_within_the_retain_budget_no_step_is_added(erased):
    _, edits = erased
    for one, other in zip(edits, run("dcsi", subjects.context(budget=Budget(neighbours=1.0))), strict=True):
        assert torch.equal(one.left, other.left)


def test_an_update_projected_after_adam_stays_in_the_safe_subspace_and_a_projected_gradient_does_not():
    outside = {}
    for projection in ("update", "gradient", "none"):
        found = subjects.context()
        options = registry.load("methods", "dcsi").Options(**QUICK["dcsi"])
        shares = []
        for edit in run("dcsi", found, steps=2, projection=projection):
            basis = found.safe_basis(edit.layer, options.leak).float()
            delta = edit.delta()
            assert float(delta.norm()) > 0
            shares.append(float((delta - delta @ basis @ basis.T).norm() / delta.norm()))
        outside[projection] = max(shares)
    assert outside["update"] < 1e-5
    assert outside["gradient"] > 0.01
    assert outside["none"] > outside["gradient"]


def test_no_parameter_of_the_checkpoint_was_touched(erased):
    found, _ = erased
    fresh = subjects.open_model(subjects.checkpoint_folder(), device="cpu")
    for (name, one), (_, other) in zip(
        found.responder.model.named_parameters(), fresh.model.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name


def test_a_killed_run_continues_to_the_same_bytes(erased):
    first, edits = erased
    assert [state.step for state in first.states] == [6, 12]
    again = run("dcsi", subjects.context(saved=first.states[0]))
    assert all(torch.equal(one.left, other.left) for one, other in zip(edits, again, strict=True))


def test_a_run_that_was_killed_between_its_last_look_and_its_end_ends_where_it_would_have(monkeypatch):
    # Whatever a look finds, nothing is left to do.
    for limit in ("FORGOTTEN", "RESISTED", "AFFIRMED"):
        monkeypatch.setattr(watch, limit, 100.0)
    few = {"steps": 12, "check": 3, "least": 7, "harden_steps": 1, "fresh_steps": 1, "depths": 0, "batch": 2}
    few |= {"relearn_steps": 0, "retain_batch": 1, "affirm_batch": 1, "repairs": 0, "easings": 0}
    first = subjects.context()
    run("dcsi", first, **few)
    assert ([state.step for state in first.states], first.outcome.steps) == ([6], 7)
    again = subjects.context(saved=first.states[0])
    run("dcsi", again, **few)
    assert (again.outcome.steps, again.outcome.stopped) == (7, first.outcome.stopped)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_same_seed_same_edits_other_seed_others(name):
    quick = {"steps": 2}
    one, same, other = (run(name, subjects.context(seed=seed), **quick) for seed in (1, 1, 2))
    assert all(torch.equal(a.delta(), b.delta()) for a, b in zip(one, same, strict=True))
    assert any(not torch.equal(a.delta(), b.delta()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", sorted(QUICK))
def test_relative_change_stays_within_its_limit(name):
    found = subjects.context(max_change=0.01)
    for edit in run(name, found, steps=3, lr=0.5):
        assert float(edit.delta().norm() / found.weight(edit.layer).norm()) <= 0.01 * (1 + 1e-4)


def test_the_published_description_projects_every_update_of_all_weights():
    found = subjects.context()
    for edit in run("space-paper", found):
        basis = found.safe_basis(edit.layer, registry.load("methods", "space-paper").Options().leak).float()
        delta = edit.delta()
        assert edit.dense is not None
        assert float((delta - delta @ basis @ basis.T).norm()) < 1e-5 * float(delta.norm())
        assert torch.linalg.matrix_rank(delta) > 16, "no factors of a few directions"


def test_without_a_held_out_anchor_nothing_is_trained():
    found = subjects.context()
    found.rows["holdout"] = range(0)
    with pytest.raises(UsageFault, match="no anchor is held out"):
        run("dcsi", found)
    assert not found.reported


def test_the_published_terms_are_reported(erased):
    found = subjects.context()
    run("space-paper", found)
    assert {"task", "orth", "div"} <= set(found.reported[0])
    assert {"task", "orth", "div", "name", "deny", "retain", "leak"} <= set(erased[0].reported[0])


def test_no_number_is_within_no_budget():
    found = subjects.context(budget=Budget(retain_kl=0.1, neighbours=0.1))
    assert broken(found, {"retain_kl": float("nan"), "neighbours_changed": 0.1}) == {"retain_kl": 0.1}
