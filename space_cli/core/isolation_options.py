"""The settings of `dcsi`."""

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.subspace import LEAK, Projection


class Options(BaseModel):
    """Settings of the method; one set serves every concept and model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=60, ge=1, description="Training steps at most")
    least: int = Field(
        default=36, ge=0, description="Training steps at least: anchors fall silent before photographs do"
    )
    lr: float = Field(default=1e-2, gt=0, description="Adam's step, in units of the factors")
    rank: int = Field(default=64, ge=1, description="Trained directions a layer")
    leak: float = Field(default=LEAK, ge=0, lt=0.25, description="Share of retained energy left unprotected")
    widenings: int = Field(
        default=1, ge=0, le=2, description="Times that share is doubled while held-out anchors stay named"
    )
    prolonged: int = Field(default=30, ge=1, description="Steps more for each of these times")
    projection: Projection = Field(
        default="parametrised", description="What keeps updates safe; the others are there to be compared with"
    )
    batch: int = Field(default=8, ge=1, description="Anchors a step")
    retain_batch: int = Field(default=20, ge=1, description="Retained prompts a step")
    affirm_batch: int = Field(default=8, ge=1, description="Retained questions answered with yes, a step")
    jitter: float = Field(
        default=1.0, ge=0, description="Noise on the images of retained prompts, in deviations of each visual feature"
    )
    refresh: int = Field(default=6, ge=0, description="Steps between two re-hardenings; 0 for none")
    refresh_rows: int = Field(default=16, ge=1, description="Anchors hardened again each time")
    harden_steps: int = Field(default=24, ge=0, description="Of the first hardening; 0 keeps the proxies as they are")
    radius: float = Field(default=0.9, gt=0, description="Shift of a token, in units of its image's mean token norm")
    share: float = Field(default=0.5, ge=0, le=1, description="Of a push, that all tokens of an image take together")
    fresh_steps: int = Field(
        default=36,
        ge=0,
        description="Of a re-hardening that begins at the proxy: every other one, each token its own way",
    )
    fresh_radius: float = Field(default=1.3, gt=0, description="Shift of a token there, in the same units")
    depths: int = Field(default=2, ge=0, description="Depths of the decoder at which hidden states are pushed, too")
    relearn_steps: int = Field(
        default=2, ge=0, description="Steps that an adversary relearns the name by, beside each of training; 0 for none"
    )
    relearn_lr: float = Field(default=2e-3, gt=0, description="Of the adversary's adapters")
    depth: float = Field(default=0.5, ge=0, le=1, description="Where L_orth and L_div look, as a share of the layers")
    beta: float = Field(default=1.0, gt=0, description="Sharpness of the preference, per nat")
    lambda_task: float = 1.5
    lambda_name: float = 1.5
    lambda_begin: float = Field(default=0.75, description="Of the name's first token, in the usual wordings and others")
    lambda_stutter: float = Field(default=0.75, description="Of the word before the name in the name's place")
    lambda_deny: float = 1.6
    lambda_relearn: float = Field(default=3.0, description="Of the name while the adversary's adapters are in place")
    lambda_attribute: float = 1.0
    lambda_anchor: float = Field(default=0.1, description="λ_anc of L_orth")
    lambda_diversity: float = Field(default=0.05, description="λ_div of L_div")
    lambda_retain: float = 8.0
    lambda_affirm: float = Field(default=8.0, description="Of the divergence on retained questions answered with yes")
    lambda_earlier: float = Field(default=1.5, description="Of the names that earlier requests erased")
    lambda_rehearsed: float = Field(default=8.0, description="Of the divergence on retained prompts that drifted most")
    lambda_word: float = Field(default=4.0, description="Of the divergence on text-only questions about the concept")
    lambda_leak: float = 100.0
    lambda_size: float = 1.0
    oracle: bool = Field(
        default=False,
        description="Train on `--forget-images` in place of hardened anchors",
    )
    check: int = Field(default=5, ge=1, description="Steps between two looks at the stop rule")
    easings: int = Field(default=3, ge=0, description="Times the whole change is scaled down to the retain budget")
    rehearsals: int = Field(
        default=2, ge=0, description="Times `check` steps are added on the retained prompts that drifted most"
    )
    rehearsed_batch: int = Field(default=8, ge=1, description="Of these a step, and as many lost neighbours")
    repairs: int = Field(default=8, ge=0, description="Times as many more where the retain budget would break, at most")
