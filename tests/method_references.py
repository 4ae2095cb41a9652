"""The published losses, one sample and one word at a time."""

import math


def log_softmax(row):
    top = max(row)
    total = math.log(sum(math.exp(value - top) for value in row)) + top
    return [value - total for value in row]


def ascent(forget):
    """-ℓ_f."""
    return -sum(forget) / len(forget)


def difference(forget, retain, weight):
    """-ℓ_f + λ_r ℓ_r."""
    return ascent(forget) + weight * sum(retain) / len(retain)


def refusal(refused, retain, weight):
    """CE on refusals + λ_r ℓ_r."""
    return sum(refused) / len(refused) + weight * sum(retain) / len(retain)


def negative_preference(now, reference, beta):
    """-(2/β) E log σ(-β (log p_θ - log p_ref)), in probabilities."""
    total = 0.0
    for one, other in zip(now, reference, strict=True):
        ratio = math.exp(-one) / math.exp(-other)
        total += math.log(1 / (1 + ratio**beta))
    return -(2 / beta) * total / len(now)


def divergence(before, after, mask):
    """Σ over marked positions of Σ_v p_0 log(p_0 / p_θ), for one prompt."""
    total = 0.0
    for old, new, marked in zip(before, after, mask, strict=True):
        if marked:
            p, q = log_softmax(old), log_softmax(new)
            total += sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))
    return total


def kl_published(forget, retain, before, after, mask, weight):
    """-ℓ_f + ℓ_r + α · (KL summed over positions, divided by the prompts)."""
    rows = [divergence(*row) for row in zip(before, after, mask, strict=True)]
    return ascent(forget) + sum(retain) / len(retain) + weight * sum(rows) / len(rows)


def kl_textbook(forget, before, after, mask, weight):
    """-ℓ_f + α · E_r[(1/T) Σ_t KL]."""
    rows = [divergence(*row) / sum(row[2]) for row in zip(before, after, mask, strict=True)]
    return ascent(forget) + weight * sum(rows) / len(rows)


def dual_masked(before, after, free, kept):
    """(1/Σ K_S) Σ_t K_S Σ_v K_V p_0 log(p_0 / p_θ), with probabilities of the whole vocabulary."""
    total = 0.0
    for old, new, counts in zip(before, after, free, strict=True):
        p, q = log_softmax(old), log_softmax(new)
        total += counts * sum(math.exp(a) * (a - b) for a, b, keep in zip(p, q, kept, strict=True) if keep)
    return total / sum(free)


def dual_masked_renormalised(before, after, free, kept):
    """The same between distributions over the kept words alone."""
    cut = [[value for value, keep in zip(row, kept, strict=True) if keep] for row in before]
    moved = [[value for value, keep in zip(row, kept, strict=True) if keep] for row in after]
    return dual_masked(cut, moved, free, [True] * sum(kept))


def saliency(target, preserve, tau):
    """1[(F_T + ε) / (F_P + ε) >= τ] from lists of gradients, one a batch."""

    def fisher(batches):
        return [sum(batch[i] ** 2 for batch in batches) / len(batches) for i in range(len(batches[0]))]

    return [(t + 1e-15) / (p + 1e-15) >= tau for t, p in zip(fisher(target), fisher(preserve), strict=True)]
