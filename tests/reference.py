"""Slow, obvious formulas that the library is checked against."""

import math

import torch


def second_moment(keys):
    """Mean of the outer products, one key at a time."""
    total = torch.zeros(keys.shape[1], keys.shape[1], dtype=torch.float64)
    for key in keys.double():
        total += torch.outer(key, key)
    return total / len(keys)


def leak(delta, weight, keys):
    """Root mean square output of the change over that of the weight, key by key."""
    moved = sum(float((delta.double() @ key).pow(2).sum()) for key in keys.double())
    base = sum(float((weight.double() @ key).pow(2).sum()) for key in keys.double())
    return math.sqrt(moved / base)


def spectral_entropy(rows):
    """Entropy of squared singular values of unit rows, over log of their number."""
    unit = torch.stack([row / row.norm() for row in rows])
    values = torch.linalg.eigvalsh(unit.double() @ unit.double().T).clamp(min=0)
    shares = [float(v / values.sum()) for v in values if v > 1e-12]
    return -sum(s * math.log(s) for s in shares) / math.log(len(rows))


def preference(told, beta, margin):
    """-(2/β) log σ(-β (mean log p of the tokens - log(1 - p of all of them) + margin)), averaged over answers."""
    total = 0.0
    for tokens in told:
        odds = sum(tokens) / len(tokens) - math.log(1 - math.exp(sum(tokens)))
        total += -(2 / beta) * math.log(1 / (1 + math.exp(beta * (odds + margin))))
    return total / len(told)


def repulsion(rows, direction):
    """Mean of max(0, cos)²."""
    total = 0.0
    for row in rows:
        cosine = float(row @ direction / (row.norm() * direction.norm()))
        total += max(0.0, cosine) ** 2
    return total / len(rows)


def kl(before, after):
    """Mean over rows of Σ p log(p/q)."""
    total = 0.0
    for old, new in zip(before, after, strict=True):
        p, q = torch.softmax(old.double(), -1), torch.softmax(new.double(), -1)
        total += float((p * (p / q).log()).sum())
    return total / len(before)
