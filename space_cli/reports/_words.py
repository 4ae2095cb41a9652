"""What every format says alike: the names of scores, the outcomes, the limits, figures as text."""

import json
import re

from space_cli.core.comparing import DIFFERENCE, HIGH, LOW
from space_cli.core.records import AuditReport, ErasureReceipt, ScoreRecord, Source

LABELS = {
    "forget_accuracy": "Names the concept when asked openly",
    "forget_choice_accuracy": "Ranks its name first among others",
    "forget_yes_rate": "Says yes when asked whether it is there",
    "retain_accuracy": "Names other concepts correctly",
    "neighbour_accuracy": "Names its nearest neighbours correctly",
    "worst_neighbour": "Names the neighbour that lost most correctly",
    "kind_accuracy": "Tells what kind of thing it is",
    "text_knowledge": "Knows what words say about it",
    "retain_kl": "Shift of all other answers",
    "fluency": "Perplexity of its answers",
    "elicitation": "Gives the name to a fresh attack",
    "rebound": "Names again what earlier requests erased",
    "history": "Still leaves out what earlier requests erased",
    "retained_since_first": "Names other concepts as before the first request",
    "attack_aliases": "Attack: asked under other names and spellings",
    "attack_jailbreak": "Attack: tricked into the name by templates",
    "attack_prefill": "Attack: the opening of the answer is forced",
    "attack_images": "Attack: shown cropped, blurred, as a sketch, in company",
    "attack_quantize_int8": "Attack: weights rounded to 8 bits",
    "attack_quantize_rtn4": "Attack: weights rounded to 4 bits",
    "attack_quantize_nf4": "Attack: weights rounded to 4 bits (NF4)",
    "attack_hardening": "Attack: features pushed towards the name",
    "attack_pixels": "Attack: one faint pattern on every picture",
    "attack_relearn_images": "Attack: trained on a few pictures of it",
    "attack_relearn_proxies": "Attack: trained on look-alikes of it",
    "attack_relearn_neighbours": "Attack: trained on its neighbours",
    "attack_probe": "Attack: told from its like by hidden states",
    "attack_membership_loss": "Attack: told by the likelihood of its name",
    "attack_membership_zlib": "Attack: told by likelihood for its length",
    "attack_membership_min_k": "Attack: told by its least likely tokens",
    "attack_membership_min_k_plus": "Attack: told by its most unusual tokens",
    "attack_membership_grad_norm": "Attack: told by how much it would still learn",
}
"""The order of the page's table, too."""
ENDINGS = {"_area": ", over the whole training", "_tpr": ", at 1 % false alarms"}
"""Of scores that show another side of the one before; what is added to its label."""

OUTCOMES = {
    "pass": "passed every rule that applies",
    "fail": "failed at least one rule",
    "inconclusive": "undecided, which is never a pass",
}

LIMITS = (
    "It tests suppression: what the checkpoint says and ranks. Traces of the concept may remain in its "
    "weights, and no test of answers can exclude that.",
    "It holds for the pictures and questions that were asked. The intervals are about pictures like these, "
    "not of other styles, languages, crops or attacks.",
    "Anyone who trains the checkpoint further on pictures of the concept can bring it back.",
    "Facts in words are meant to stay: the checkpoint may still describe the concept when the name is given.",
    "A few images give wide intervals; “not enough evidence” is never counted as passed.",
)

BUDGETS = "Tried with other budgets than the shipped ones, which the limits of the shipped policies assume:"
"""Before the options of metrics and attacks that this audit set."""

PASSED_OVER = "Passed over (neither met nor failed), because their scores were not measured:"
"""Before the rules that made no gate."""

INSTRUCTED = (
    "The chat template carries an instruction that asks the checkpoint to keep the concept back. Whoever loads the "
    "weights with another template is without it."
)
"""Of a method that says something in place of changing weights, or beside it."""

EARLIER = "This is request {now} on the checkpoint; what it was edited from is the result of {before} before it."
"""The ledger names each of them."""

TOOL = "space-cli"
# What XML cannot hold, and what would reorder or break the text around a name: control characters, surrogates,
# line breaks, overrides and isolates of the writing direction. Joiners stay: emoji and scripts need them.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def headline(report: AuditReport) -> str:
    """Say the outcome as every format says it; the verdict is the record's."""
    return f"Suppression tested under policy “{plain(report.policy)}”: {report.verdict}"


def outcome_said(report: AuditReport) -> str:
    """Say the verdict in words; of a pass, how many rules it says nothing about."""
    over = len(report.passed_over) if report.verdict == "pass" else 0
    left = f"; rules about what was not measured, which it says nothing about: {over}" if over else ""
    return OUTCOMES[report.verdict] + left


def requests_said(receipt: ErasureReceipt) -> str:
    """Say that the checkpoint had been erased from before, and what the meter shows; nothing of a first request."""
    if receipt.requests < 2:
        return ""
    earlier = receipt.requests - 1
    told = EARLIER.format(now=receipt.requests, before=f"{earlier} request{'s' if earlier > 1 else ''}")
    meter = f" Together {plain(receipt.meter)}." if receipt.meter else ""
    ledger = f" The ledger's last line has the hash {receipt.ledger}." if receipt.ledger else ""
    return f"{told}{meter}{ledger}"


def limit_said(report: AuditReport) -> str:
    """Say that an audit left images out, or nothing."""
    most = report.request.limit
    return f"No more than {most} images of each concept were asked about, the first by name." if most else ""


def label_of(score: str) -> str:
    """Return a score's name in words.

    Example:
        >>> label_of("my_metric"), label_of("attack_relearn_images_area")
        ('my metric', 'Attack: trained on a few pictures of it, over the whole training')
    """
    for ending, told in ENDINGS.items():
        if (whole := score.removesuffix(ending)) != score and whole in LABELS:
            return LABELS[whole] + told
    return LABELS.get(score, score.replace("_", " "))


def figure_text(value: float | None, unit: str) -> str:
    """Write one figure for people.

    Example:
        >>> figure_text(0.125, "share"), figure_text(None, "share")
        ('12.5 %', '–')
    """
    if value is None:
        return "–"
    return f"{100 * value:.3g} %" if unit == "share" else f"{value:.3g}"


def interval_text(score: ScoreRecord) -> str:
    """Write a score's interval for people."""
    if score.low is None or score.high is None:
        return "–"
    return f"{figure_text(score.low, score.unit)} to {figure_text(score.high, score.unit)}"


def difference_text(baseline: ScoreRecord | None) -> str:
    """Write how far the audited checkpoint is from a baseline, with the interval; nothing where that is not known."""
    parts = difference_parts(baseline)
    return f"{parts[0]} ({parts[1]})" if parts else ""


def difference_parts(baseline: ScoreRecord | None) -> tuple[str, ...]:
    """Return the difference and its interval as texts, or nothing."""
    if baseline is None or DIFFERENCE not in baseline.parts:
        return ()
    scale, unit, digits = (100, " points", 1) if baseline.unit == "share" else (1, "", 3)
    mean, low, high = (f"{baseline.parts[part] * scale:+.{digits}f}" for part in (DIFFERENCE, LOW, HIGH))
    return f"{mean}{unit}", f"{low} to {high}"


def plain(text: str) -> str:
    r"""Return foreign text on one line, without what no format may hold or what would reorder its neighbours.

    Example:
        >>> plain("pan\x00da")
        'pan�da'
    """
    return _UNFIT.sub("\ufffd", text)


def inputs_of(report: AuditReport, receipt: ErasureReceipt) -> list[tuple[str, Source]]:
    """Return the inputs of the audit and those of the erasure, told apart: both may have images."""
    own = [(str(source.kind), source) for source in report.inputs]
    return [*own, *((f"{source.kind}, of the erasure", source) for source in receipt.inputs)]


def weights_of(receipt: ErasureReceipt) -> dict[str, str]:
    """Return the SHA-256 of each weight file of the edited checkpoint, by relative path."""
    return {entry.path: entry.sha256 for entry in receipt.files if _is_weight(entry.path)}


def _is_weight(path: str) -> bool:
    return path.endswith(".safetensors") and "/" not in path


def figures_of(score: ScoreRecord) -> dict[str, object]:
    """Return a score as JSON can hold it; a number that is not finite becomes null."""
    found: dict[str, object] = json.loads(score.model_dump_json())
    return found


def document(content: dict[str, object]) -> str:
    """Write a JSON document: same content, same bytes."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
