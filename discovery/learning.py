"""What the models learn from a round: the surrogate from every label, the generator from what proved good."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from discovery.generators.base import Generator, SamplingOptions
from discovery.metrics import GenerativeMetrics, generative_metrics
from discovery.records import LearningReport
from discovery.surrogates.base import Labels, Surrogate
from discovery.surrogates.recalibration import deviations

GUARD_SAMPLES = 512  # raw, free samples that the decay guard compares before and after
GUARD_MARGIN = 0.03  # a guarded rate may fall by this much; its standard error at 512 samples is about 0.01
GUARD_NLL_MARGIN = 0.02  # the held-out negative log-likelihood per formula may rise by this share
GOOD_REPEATS = 4  # how often a good composition occurs beside each replayed one
REPLAY_PER_GOOD = 32  # replayed known compositions for each good one
FINE_TUNE_EPOCHS = 1
FINE_TUNE_RATE = 1e-4  # AdamW; a twentieth of the rate of training
GUARDED = ("charge_neutral", "electronegativity_balanced", "uniqueness", "novelty")


@dataclass(frozen=True)
class Lesson:
    """All that is learned from after a round; rows sorted by formula, so that the order of answers is irrelevant."""

    new: Labels  # this round's labels
    replay: Labels  # older labels: of earlier rounds and of the reference
    good: tuple[str, ...]  # reduced formulas that proved stable
    known: tuple[str, ...]  # known compositions, replayed to the generator against forgetting
    held_out: tuple[str, ...]  # known compositions that no fine-tuning sees: the guard's likelihood
    seed: np.random.SeedSequence


@dataclass(frozen=True)
class Learned:
    """The models after a lesson."""

    generator: Generator | None
    surrogate: Surrogate
    report: LearningReport

    def on(self, device: str) -> Learned:
        """The same with the models on a torch device."""
        generator = None if self.generator is None else self.generator.on(device)
        return dataclasses.replace(self, generator=generator, surrogate=self.surrogate.on(device))


def learn(generator: Generator | None, surrogate: Surrogate, lesson: Lesson) -> Learned:
    """Both models after `lesson`; neither of the given ones changes."""
    surrogate_seed, generator_seed = lesson.seed.spawn(2)
    refitted = learn_surrogate(surrogate, lesson, np.random.default_rng(surrogate_seed))
    return joined(refitted, learn_generator(generator, lesson, generator_seed))


def joined(
    surrogate: tuple[Surrogate, Mapping[str, float]], generator: tuple[Generator | None, Mapping[str, float], bool]
) -> Learned:
    """What `learn_surrogate` and `learn_generator` gave, as one."""
    refitted, metrics = surrogate
    tuned, guard, rolled_back = generator
    version = tuned.version if tuned is not None else ""
    return Learned(tuned, refitted, LearningReport(refitted.version, version, {**metrics, **guard}, rolled_back))


def learn_surrogate(
    surrogate: Surrogate, lesson: Lesson, rng: np.random.Generator
) -> tuple[Surrogate, dict[str, float]]:
    """Refit on the new labels with replay; says how good the predictions were *before* the labels were seen.

    The labels first test the calibration, which is mended where it has drifted.
    """
    if not lesson.new.formulas:
        return surrogate, {}
    checked, calibration = surrogate.recalibrated(lesson.new)
    refitted = checked.refit(lesson.new, lesson.replay, rng)
    before = {f"{name}_before": value for name, value in label_errors(surrogate, lesson.new).items()}
    after = {f"{name}_after": value for name, value in label_errors(refitted, lesson.new).items()}
    return refitted, {**before, **calibration, **after}


def label_errors(surrogate: Surrogate, labels: Labels) -> dict[str, float]:
    """MAE (eV/atom) and coverage of the 90 % interval on labels of schemes that the surrogate knows; {} for none."""
    known = labels.rows(i for i, scheme in enumerate(labels.schemes) if scheme in surrogate.schemes)
    if not known.formulas:
        return {}
    errors, inside = deviations(surrogate, known)
    return {"mae": float(errors.mean()), "coverage_90": float(inside.mean())}


def learn_generator(
    generator: Generator | None, lesson: Lesson, seed: np.random.SeedSequence
) -> tuple[Generator | None, dict[str, float], bool]:
    """Fine-tune on good compositions among replayed known ones; keep the old model where the new one decayed.

    Training a generator on its own output makes it decay (arXiv 2509.25538), so raw free samples of both are compared.
    """
    if generator is None or not lesson.good:
        return generator, {}, False
    replay_seed, tune_seed, guard_seed = seed.spawn(3)
    formulas = _fine_tuning_set(lesson, np.random.default_rng(replay_seed))
    tuned = generator.fine_tune(formulas, np.random.default_rng(tune_seed), FINE_TUNE_EPOCHS, FINE_TUNE_RATE)
    before = _guard(generator, lesson, guard_seed)
    after = _guard(tuned, lesson, guard_seed)
    decayed = has_decayed(before, after)
    metrics = {f"guard_{k}_before": v for k, v in before.items()} | {f"guard_{k}_after": v for k, v in after.items()}
    return (generator if decayed else tuned), metrics, decayed


def has_decayed(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """True where a guarded rate fell, or the held-out likelihood worsened, by more than its margin."""
    fallen = any(before[name] - after[name] > GUARD_MARGIN for name in GUARDED)
    return fallen or after["held_out_nll"] > before["held_out_nll"] * (1 + GUARD_NLL_MARGIN)


def _fine_tuning_set(lesson: Lesson, rng: np.random.Generator) -> list[str]:
    size = min(len(lesson.known), REPLAY_PER_GOOD * len(lesson.good))
    replay = [lesson.known[i] for i in sorted(rng.choice(len(lesson.known), size, replace=False))] if size else []
    return replay + [formula for formula in lesson.good for _ in range(GOOD_REPEATS)]


def _guard(generator: Generator, lesson: Lesson, seed: np.random.SeedSequence) -> dict[str, float]:
    # default_rng(seed) does not spawn, so both models are sampled with the same stream
    samples = generator.sample(GUARD_SAMPLES, np.random.default_rng(seed), SamplingOptions())
    metrics: GenerativeMetrics = generative_metrics(samples, frozenset(lesson.known))
    rates = {name: float(dataclasses.asdict(metrics)[name]) for name in GUARDED}
    return rates | {"held_out_nll": _held_out_nll(generator, lesson.held_out)}


def _held_out_nll(generator: Generator, formulas: Sequence[str]) -> float:
    return float(-generator.log_probability(formulas).mean()) if formulas else 0.0
