"""The ensemble: several networks that agree where the data are dense, and say so where they do not."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discovery.errors import SchemeError
from discovery.model_files import CARD, CONFIG, short_hash, write_json, write_weights
from discovery.surrogates import calibration
from discovery.surrogates.analogues import Analogues
from discovery.surrogates.base import FloatArray, Labels, Prediction
from discovery.surrogates.calibration import SchemeCalibration
from discovery.surrogates.drift import Watch
from discovery.surrogates.features import Compositions, encode, pack
from discovery.surrogates.folders import load_folder
from discovery.surrogates.network import Network, NetworkConfig
from discovery.surrogates.recalibration import deviations, nearest_scheme, unseen_std, watched
from discovery.surrogates.refit import RefitConfig, held_back, kept_back, refit_network

KIND = "composition-ensemble"
SHIFT_SHARE = 0.7  # of a correction in the std between members; by the likelihood of validation errors, 0.65 to 1
CHUNK = 1024  # compositions per pass: memory stays flat, and a pass within the processor's cache is a third quicker


@dataclass(frozen=True)
class Outputs:
    """What the members of an ensemble say of n compositions in one scheme, not calibrated; eV/atom."""

    means: FloatArray  # (members, n), corrected by analogues
    scales: FloatArray  # (members, n), of a Laplace distribution
    shift: FloatArray  # (n,), the correction

    @property
    def mean(self) -> FloatArray:
        """Of the members, shape (n,)."""
        mean: FloatArray = self.means.mean(axis=0)
        return mean

    @property
    def epistemic(self) -> FloatArray:
        """Standard deviation between the members, shape (n,); a large correction is a disagreement, too."""
        between = self.means.std(axis=0, ddof=1) if len(self.means) > 1 else np.zeros_like(self.shift)
        epistemic: FloatArray = np.hypot(between, SHIFT_SHARE * self.shift)
        return epistemic

    @property
    def aleatoric(self) -> FloatArray:
        """Standard deviation by the scales, shape (n,).

        A Laplace distribution of scale b has the variance 2 b^2; the members' variances are averaged.
        """
        aleatoric: FloatArray = np.sqrt(2.0 * np.square(self.scales).mean(axis=0))
        return aleatoric


@dataclass(frozen=True)
class EnsembleSurrogate:
    """Mean, epistemic and aleatoric standard deviation from several networks. Immutable."""

    networks: tuple[Network, ...]
    calibrations: Mapping[str, SchemeCalibration]
    element_counts: Tensor  # (103,), training compositions that hold each element
    name: str = "ensemble"
    card: Mapping[str, object] = field(default_factory=dict)
    watches: Mapping[str, Watch] = field(default_factory=dict)  # of the calibration of schemes that got labels
    analogues: Analogues | None = None  # what the networks miss of a compound as they do of its analogues

    @property
    def schemes(self) -> tuple[str, ...]:
        """Trained schemes, then learned offsets."""
        return self.networks[0].config.schemes

    @cached_property
    def version(self) -> str:
        """Name and a short hash of weights and calibration."""
        return f"{self.name}-{short_hash(self._tensors())}"

    def predict(self, formulas: Sequence[str], scheme: str) -> Prediction:
        """Calibrated prediction; order of elements and multiples of a formula are irrelevant.

        Raises:
            SchemeError: an unknown scheme.
            CompositionError: a formula that is no composition.
        """
        self._check(scheme)
        chunks = [encode(formulas[start : start + CHUNK]) for start in range(0, len(formulas), CHUNK)]
        parts = [self._calibrated(chunk, scheme) for chunk in chunks]
        if not parts:
            return Prediction(np.zeros(0), np.zeros(0), np.zeros(0))
        return Prediction(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def interval(self, scheme: str, level: float) -> float:
        """Half-width of the central interval in units of the total std: errors follow Student's t, not a normal."""
        self._check(scheme)
        return self.calibrations[scheme].interval(level)

    def outputs(self, data: Compositions, scheme: str) -> Outputs:
        """What the members say, corrected by analogues; not calibrated.

        Raises:
            SchemeError: an unknown scheme.
        """
        means, scales = self._members(data, scheme)
        shift = self.shift(data, scheme, scales)
        return Outputs(means + shift, scales, shift)

    def shift(self, data: Compositions, scheme: str, scales: FloatArray) -> FloatArray:
        """What analogues add to the means, eV/atom, shape (n,), at the scales that the members give, (members, n)."""
        if self.analogues is None:
            return np.zeros(len(data))
        shift: FloatArray = self.analogues.correction(data, scheme) * scales.mean(axis=0)
        return shift

    def _members(self, data: Compositions, scheme: str) -> tuple[FloatArray, FloatArray]:
        self._check(scheme)
        column = self.schemes.index(scheme)
        batch = pack(data, np.arange(len(data))).to(self.networks[0].device)
        back = np.argsort(batch.order)
        with torch.inference_mode():
            outputs = [network.predict(batch, column) for network in self.networks]
        means, scales = (torch.stack(part).double().cpu().numpy()[:, back] for part in zip(*outputs, strict=True))
        return means, scales

    def recalibrated(self, new: Labels) -> tuple[EnsembleSurrogate, dict[str, float]]:
        """The ensemble after a look at labels that it has not learned, and what was seen.

        A calibration that has drifted is scaled, and watched from the beginning (see `recalibration.watched`).
        """
        calibrations, watches, seen = watched(self, self.calibrations, self.watches, new)
        return replace(self, calibrations=calibrations, watches=watches), seen

    def refit(self, new: Labels, replay: Labels, rng: np.random.Generator) -> EnsembleSurrogate:
        """A new ensemble that learned `new` beside `replay`; the calibration stays (see `recalibrated`)."""
        if not new.formulas:
            return self
        extended = self._with_schemes(sorted(set(new.schemes) - set(self.schemes)), new)
        config, seeds = RefitConfig(), rng.integers(2**63, size=len(self.networks))
        guard, replay = kept_back(extended, replay, config) if self.analogues else (None, replay)
        networks = tuple(
            refit_network(network, new, replay, np.random.default_rng(seed), config, extended.analogues)
            for network, seed in zip(extended.networks, seeds, strict=True)
        )
        if guard is not None:

            def error(moved: tuple[Network, ...]) -> float:
                return float(deviations(replace(extended, networks=moved), guard)[0].mean())

            networks = held_back(extended.networks, networks, error, config.max_rise_together, config.shrink)
        return replace(extended, networks=networks, card={**self.card, "refitted_from": self.version})

    def on(self, device: str) -> EnsembleSurrogate:
        """The same surrogate computing on `device`, such as "cuda"; itself where it lies there already."""
        if self.networks[0].device == torch.device(device):
            return self
        return replace(self, networks=tuple(copy.deepcopy(network).to(device) for network in self.networks))

    def with_calibration(self, calibrations: Mapping[str, SchemeCalibration]) -> EnsembleSurrogate:
        """The same networks, calibrated anew."""
        return replace(self, calibrations=dict(calibrations), watches={})

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` (half precision where that loses nothing), `config.json` and `card.json`."""
        config = {
            "kind": KIND,
            "name": self.name,
            "members": len(self.networks),
            "network": self.networks[0].config.to_dict(),
            "calibration": {scheme: values.to_dict() for scheme, values in self.calibrations.items()},
            "watches": {scheme: asdict(watch) for scheme, watch in self.watches.items()},
            "version": self.version,
        }
        write_weights(folder, {key: lossless_half(value) for key, value in self._tensors().items()})
        write_json(folder / CONFIG, config)
        write_json(folder / CARD, self.card)

    @classmethod
    def load(cls, folder: Path) -> EnsembleSurrogate:
        """Read a folder that `save` wrote.

        Raises:
            WeightsError: a missing, truncated or foreign file.
        """
        surrogate, card = load_folder(folder, KIND, "ensemble of this package", cls._from_parts)
        return replace(surrogate, card=card)

    @classmethod
    def _from_parts(cls, config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> EnsembleSurrogate:
        network_config = NetworkConfig.from_dict(json.loads(json.dumps(config["network"])))
        networks = []
        for member in range(int(str(config["members"]))):
            prefix = f"member{member}."
            part = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            network = Network(network_config, part["properties"])
            network.load_state_dict(part)
            networks.append(network.eval().requires_grad_(False))
        stored = json.loads(json.dumps(config))
        calibrations = calibration.from_config(stored["calibration"])
        watches = {
            k: Watch(tuple(map(float, w["log_ratios"])), int(w["n"])) for k, w in stored.get("watches", {}).items()
        }
        counts, name = tensors["element_counts"], str(config["name"])
        analogues = Analogues.from_tensors(tensors, network_config.schemes)
        return cls(tuple(networks), calibrations, counts, name, watches=watches, analogues=analogues)

    def _calibrated(self, data: Compositions, scheme: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        outputs = self.outputs(data, scheme)
        epistemic, aleatoric = self.calibrations[scheme].apply(outputs.epistemic, outputs.aleatoric)
        return outputs.mean, np.hypot(epistemic, unseen_std(self.element_counts, data)), aleatoric

    def _check(self, scheme: str) -> None:
        if scheme not in self.schemes:
            raise SchemeError(f"the surrogate does not know scheme {scheme!r}: use one of {', '.join(self.schemes)}")

    def _with_schemes(self, schemes: Sequence[str], new: Labels) -> EnsembleSurrogate:
        """One more scheme for each name: the nearest known one plus a constant offset."""
        surrogate = self
        for scheme in schemes:
            rows = [i for i, name in enumerate(new.schemes) if name == scheme]
            energies = new.formation_energy_per_atom[rows]
            nearest, offset = surrogate._nearest([new.formulas[i] for i in rows], energies)
            networks = tuple(network.with_scheme(scheme, nearest, offset) for network in surrogate.networks)
            calibrations = {**surrogate.calibrations, scheme: surrogate.calibrations[surrogate.schemes[nearest]]}
            known = surrogate.analogues and surrogate.analogues.with_scheme(scheme, surrogate.schemes[nearest])
            surrogate = replace(surrogate, networks=networks, calibrations=calibrations, analogues=known)
        return surrogate

    def _nearest(self, formulas: Sequence[str], energies: FloatArray) -> tuple[int, float]:
        """Known scheme whose predictions differ least from `energies` after a constant offset; that offset, eV/atom."""
        data = encode(formulas)
        return nearest_scheme(lambda scheme: self.outputs(data, scheme).mean, self.schemes, energies)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"member{m}.{k}": v for m, net in enumerate(self.networks) for k, v in net.state_dict().items()}
        tensors |= self.analogues.tensors() if self.analogues else {}
        return {**tensors, "element_counts": self.element_counts}


def lossless_half(tensor: Tensor) -> Tensor:
    """The tensor in half precision if every value survives, else unchanged; integers stay."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def rounded(network: Network) -> Network:
    """A copy whose weights are all representable in half precision, for shipping."""
    copied = copy.deepcopy(network)
    copied.load_state_dict({key: value.half().float() for key, value in network.state_dict().items()})
    return copied.eval().requires_grad_(False)


def element_counts(data: Compositions, rows: NDArray[np.int64]) -> Tensor:
    """How many compositions of `rows` hold each element, shape (103,)."""
    counts = (data.fractions()[rows] > 0).sum(axis=0)
    return torch.from_numpy(counts).float()
