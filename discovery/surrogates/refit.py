"""Learning a handful of new labels in seconds, with replay of old ones against forgetting.

Only the last layer, the gated sum and the mean's head move, by a few steps of a small rate. Every step sees new labels
and replayed ones, and a replayed composition is pulled to where the old network put it as much as to its label: the
label alone would have the network memorise the replay sample. At the end the new weights are drawn back toward the old
ones (a straight line between the two, as in WiSE-FT, Wortsman et al. 2022) until the error on a guard, a part of the
replay sample that no step saw, has risen by no more than `max_rise`: so ten refits cost no more than 5 %. Each network
has a guard of its own; what analogues correct errs less than its networks do, and is drawn back once more as a whole.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discovery.errors import DataError
from discovery.surrogates.analogues import Analogues
from discovery.surrogates.base import Labels, Surrogate
from discovery.surrogates.features import Compositions, Packed, encode, pack
from discovery.surrogates.network import Network
from discovery.surrogates.recalibration import deviations

Networks = tuple[Network, ...]


@dataclass(frozen=True)
class RefitConfig:
    """How quickly new labels are learned."""

    steps: int = 60
    rate: float = 5e-4  # AdamW, falling linearly to 0
    batch_size: int = 128  # compositions in a step, of the new and of the replayed ones each
    max_replay: int = 2000  # old labels drawn for one refit
    replay_weight: float = 4.0  # of the replayed part of the loss, against 1 for the new one
    guard_share: float = 0.25  # of the drawn old labels: kept back to measure forgetting
    max_rise: float = 0.0045  # of a network's error on its guard, as a share; 1.0045^10 = 1.046
    max_rise_together: float = 0.0035  # of what analogues correct; what its guard lacks, known badly, rises more
    shrink: float = 0.7  # factor of the step toward the new weights while that is exceeded


@dataclass(frozen=True)
class _Batch:
    """Labelled compositions with what a refit leaves as it is: tokens before the last layer, and the old means."""

    packed: Packed
    tokens: Tensor  # (tokens, width)
    baseline: Tensor  # (n,), eV/atom
    schemes: Tensor  # (n,), column of each label
    energies: Tensor  # (n,), eV/atom, without what analogues add
    before: Tensor  # (n,), eV/atom, mean of the network before the refit

    def mean(self, network: Network) -> Tensor:
        """Mean of a network that shares the trunk, eV/atom, shape (n,)."""
        mean: Tensor = network.head(network.gather(self.tokens, self.packed), self.schemes)[0]
        return self.baseline + network.scale * mean


def refit_network(
    network: Network,
    new: Labels,
    replay: Labels,
    rng: np.random.Generator,
    config: RefitConfig,
    analogues: Analogues | None = None,
) -> Network:
    """A copy of `network` that learned `new`; labels of schemes that the network does not know are no replay.

    What `analogues` add to the network's means is not its to learn.
    """
    fresh = _batches(network, new, rng.permutation(len(new.formulas)), config.batch_size, analogues)
    kept = np.array([i for i, scheme in enumerate(replay.schemes) if scheme in network.config.schemes], dtype=np.int64)
    drawn = rng.permutation(kept)[: config.max_replay]
    n_guard = round(config.guard_share * len(drawn))
    guard = _batches(network, replay, drawn[:n_guard], config.batch_size, analogues)
    old = _batches(network, replay, drawn[n_guard:], config.batch_size, analogues)
    student = _taught(network, fresh, old, config)
    if not guard:
        return student
    return held_back((network,), (student,), lambda n: _guard_error(n[0], guard), config.max_rise, config.shrink)[0]


def _taught(network: Network, fresh: list[_Batch], old: list[_Batch], config: RefitConfig) -> Network:
    """A copy of `network` after all steps, one batch of new and one of old labels in each."""
    student = copy.deepcopy(network).eval()
    moving = _moving(student)
    optimizer = torch.optim.AdamW(moving, lr=config.rate, weight_decay=0.0, fused=True)
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = config.rate * (1.0 - step / config.steps)
        batch = fresh[step % len(fresh)]
        loss = (batch.mean(student) - batch.energies).abs().mean()
        if old:
            loss = loss + config.replay_weight * _replay_loss(student, old[step % len(old)])
        optimizer.zero_grad()
        (loss / network.scale).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
    return student.requires_grad_(False)


def _replay_loss(student: Network, batch: _Batch) -> Tensor:
    mean = batch.mean(student)
    return 0.5 * ((mean - batch.energies).abs() + (mean - batch.before).abs()).mean()


def held_back(
    before: Networks, after: Networks, error: Callable[[Networks], float], max_rise: float, shrink: float
) -> Networks:
    """The point nearest to `after` on the way from `before` at which `error` has not risen too much."""
    limit, share, now = (1.0 + max_rise) * error(before), 1.0, after
    while error(now) > limit:
        share *= shrink
        if share < 0.01:
            return before
        now = tuple(_between(old, new, share) for old, new in zip(before, after, strict=True))
    return now


def kept_back(surrogate: Surrogate, replay: Labels, config: RefitConfig) -> tuple[Labels | None, Labels]:
    """Old labels that show what a surrogate forgets (None: there are none), and those left to be replayed.

    By a hash of the formula, so that none has been replayed in an earlier round. What lies outside its 90 % interval
    the surrogate does not know, so cannot forget: a few labels of another kind of calculation would outweigh hundreds
    of well-known ones, and their error falls while the others' rises.
    """
    known = [i for i, scheme in enumerate(replay.schemes) if scheme in surrogate.schemes]
    known.sort(key=lambda i: hashlib.blake2b(replay.formulas[i].encode(), digest_size=8).digest())
    drawn = known[: round(config.guard_share * min(len(known), config.max_replay))]
    guard = np.array(drawn, dtype=np.int64)[deviations(surrogate, replay.rows(drawn))[1]]
    left = np.setdiff1d(np.arange(len(replay.formulas)), guard)
    return (replay.rows(guard) if len(guard) else None), replay.rows(left)


def _between(old: Network, new: Network, share: float) -> Network:
    """A network on the straight line from `old` (share 0) to `new` (share 1)."""
    before, after = old.state_dict(), new.state_dict()
    network = copy.deepcopy(new)
    network.load_state_dict({key: torch.lerp(before[key], after[key], share) for key in after})
    return network


@torch.no_grad()
def _guard_error(network: Network, guard: list[_Batch]) -> float:
    return float(torch.cat([(batch.mean(network) - batch.energies).abs() for batch in guard]).mean())


def _moving(network: Network) -> list[torch.nn.Parameter]:
    """The parameters that a refit changes; the scale's head is not among them, so the calibration keeps its meaning."""
    head = network.head
    modules = (network.layers[-1], network.norm, network.value, network.gate, head.norm, head.hidden, head.hidden2)
    parameters = [
        parameter for module in (*modules, head.shift, head.stretch, head.mean) for parameter in module.parameters()
    ]
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


@torch.no_grad()
def _batches(
    network: Network, labels: Labels, rows: NDArray[np.int64], size: int, analogues: Analogues | None
) -> list[_Batch]:
    """The labels of `rows` in fixed batches, with everything computed once that no step changes."""
    energies = np.asarray(labels.formation_energy_per_atom, dtype=np.float32)[rows]
    if not np.isfinite(energies).all():
        raise DataError("a label without a finite formation energy cannot be learned: leave it out of the refit")
    columns = {scheme: column for column, scheme in enumerate(network.config.schemes)}
    schemes = np.array([columns[labels.schemes[row]] for row in rows], dtype=np.int64)
    data = encode([labels.formulas[row] for row in rows])
    added = _corrections(analogues, data, [labels.schemes[row] for row in rows])
    starts = range(0, len(rows), size)
    return [_batch(network, data, np.arange(s, min(s + size, len(rows))), (schemes, energies, added)) for s in starts]


def _corrections(analogues: Analogues | None, data: Compositions, schemes: Sequence[str]) -> NDArray[np.float32]:
    """What analogues add, in units of the predicted scale, shape (n,)."""
    added = np.zeros(len(data), np.float32)
    for scheme in set(schemes) if analogues else ():
        rows = np.flatnonzero([name == scheme for name in schemes])
        added[rows] = analogues.correction(data.rows(rows), scheme)  # type: ignore[union-attr]
    return added


def _batch(
    network: Network,
    data: Compositions,
    rows: NDArray[np.int64],
    labels: tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]],
) -> _Batch:
    packed = pack(data, rows).to(network.device)
    schemes, energies, added = (torch.from_numpy(values[rows[packed.order]]).to(network.device) for values in labels)
    baseline = network.baseline(packed).gather(1, schemes[:, None]).squeeze(1)
    tokens = network.trunk(packed)
    mean, spread = network.head(network.gather(tokens, packed), schemes)
    own = energies - added * network.scale * spread
    return _Batch(packed, tokens, baseline, schemes, own, baseline + network.scale * mean)
