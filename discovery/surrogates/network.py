"""The network: attention over the elements of a composition, one forward pass for all energy schemes.

Pre-norm attention layers (Vaswani et al. 2017; over element fractions as in CrabNet, Wang et al. 2021) and a gated
fraction-weighted sum as in Roost (Goodall and Lee 2020). The energy scheme enters after the sum: a scheme modulates
the pooled representation, so one composition with labels of several schemes costs one pass, and learning a new scheme
means learning one embedding and a linear reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from discovery.surrogates.features import BASIS_SIZE, N_ELEMENTS, Packed


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of one network."""

    schemes: tuple[str, ...]  # energy schemes, in the order of the rows of all scheme tables
    width: int = 160
    layers: int = 3
    heads: int = 4
    feed_forward: int = 480
    pooled: int = 256
    properties: int = 26  # columns of the element property table

    def to_dict(self) -> dict[str, object]:
        """For `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> NetworkConfig:
        """Inverse of `to_dict`, also after a trip through JSON."""
        return cls(**{**content, "schemes": tuple(content["schemes"])})


class MaskPool:
    """Dropout masks cut from one long random vector: a product instead of a random draw for each element.

    Drawing costs 29 ms per 2.5 M elements here, a third of a training step; reuse at a random offset costs 1 ms.
    """

    def __init__(self, rate: float, seed: int, device: torch.device, size: int = 1 << 23) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._size = size
        kept = torch.rand(size, generator=self._generator) >= rate
        self._mask = (kept.float() / (1.0 - rate)).to(device)

    def __call__(self, x: Tensor) -> Tensor:
        """`x` with a share of its elements at zero, the rest scaled up."""
        start = int(torch.randint(self._size - x.numel(), (1,), generator=self._generator))
        return x * self._mask[start : start + x.numel()].view_as(x)


class Layer(nn.Module):
    """Pre-norm self-attention and feed-forward on packed tokens."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm_attention = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm_mlp = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, config.feed_forward)
        self.down = nn.Linear(config.feed_forward, config.width)

    def forward(self, x: Tensor, groups: tuple[tuple[int, int], ...], drop: MaskPool | None) -> Tensor:
        """Tokens (tokens, width) to tokens."""
        attended = self.out(_attend(self.qkv(self.norm_attention(x)), groups, self.heads))
        x = x + (drop(attended) if drop else attended)
        fed = self.down(functional.silu(self.up(self.norm_mlp(x))))
        return x + (drop(fed) if drop else fed)


def _attend(qkv: Tensor, groups: tuple[tuple[int, int], ...], heads: int) -> Tensor:
    """Scaled dot-product attention within each composition of a packed batch."""
    width = qkv.shape[1] // 3
    out = []
    for (count, length), part in zip(groups, torch.split(qkv, [c * n for c, n in groups]), strict=True):
        q, k, v = part.view(count, length, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind()  # (count, heads, length, d)
        weights = torch.softmax(q @ k.transpose(-1, -2) * (width // heads) ** -0.5, dim=-1)
        out.append((weights @ v).transpose(1, 2).reshape(count * length, width))
    return torch.cat(out)


class Network(nn.Module):
    """Composition -> pooled representation -> mean and scale of the formation energy in every scheme."""

    properties: Tensor
    reference: Tensor
    scale: Tensor

    def __init__(self, config: NetworkConfig, properties: Tensor) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("properties", properties.clone())
        self.register_buffer("reference", torch.zeros(len(config.schemes), N_ELEMENTS))  # eV/atom, linear baseline
        self.register_buffer("scale", torch.ones(()))  # eV/atom: unit of what the network adds to the baseline
        self.element = nn.Embedding(N_ELEMENTS, config.width)
        nn.init.normal_(self.element.weight, std=0.3)
        self.property = nn.Linear(config.properties, config.width)
        self.basis = nn.Linear(BASIS_SIZE, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.value = nn.Linear(config.width, config.pooled)
        self.gate = nn.Linear(config.width, 8)
        self.head = Head(config)

    @property
    def device(self) -> torch.device:
        """Where the weights lie; batches must lie there, too."""
        return self.scale.device

    def pool(self, batch: Packed, drop: MaskPool | None = None) -> Tensor:
        """Gated fraction-weighted sum over the elements, shape (compositions, pooled), in packed order."""
        return self.gather(self.trunk(batch, drop), batch, drop)

    def first_projection(self) -> Tensor:
        """Queries, keys and values of the first layer for each element alone, shape (103, 3 x width)."""
        first = cast(Layer, self.layers[0])
        projected: Tensor = first.qkv(first.norm_attention(self.element.weight + self.property(self.properties)))
        return projected

    def trunk(self, batch: Packed, drop: MaskPool | None = None) -> Tensor:
        """Tokens before the last layer, shape (tokens, width): what a refit leaves as it is."""
        table = self.element.weight + self.property(self.properties)
        x = functional.embedding(batch.elements, table) + self.basis(batch.basis)
        for layer in self.layers[:-1]:
            x = layer(x, batch.groups, drop)
        tokens: Tensor = x
        return tokens

    def gather(self, x: Tensor, batch: Packed, drop: MaskPool | None = None) -> Tensor:
        """Last layer and gated sum, shape (compositions, pooled)."""
        last: Tensor = self.layers[-1](x, batch.groups, drop)
        x = self.norm(last)
        value, gate = functional.silu(self.value(x)), self.gate(x)
        return _gated_sum(value, gate + batch.fractions.log()[:, None], batch.groups)

    def baseline(self, batch: Packed) -> Tensor:
        """Linear part for all schemes, eV/atom, shape (compositions, schemes)."""
        terms = batch.fractions[:, None] * self.reference.t()[batch.elements]
        parts = torch.split(terms, [count * length for count, length in batch.groups])
        return torch.cat([p.view(*shape, -1).sum(dim=1) for p, shape in zip(parts, batch.groups, strict=True)])

    def forward(self, batch: Packed) -> tuple[Tensor, Tensor]:
        """Mean and Laplace scale, eV/atom, each of shape (compositions, schemes), in packed order."""
        pooled, baseline = self.pool(batch), self.baseline(batch)
        outputs = [self.head(pooled, self._column(s, len(pooled))) for s in range(baseline.shape[1])]
        mean, scale = (torch.stack(parts, dim=1) for parts in zip(*outputs, strict=True))
        return baseline + self.scale * mean, self.scale * scale

    def predict(self, batch: Packed, scheme: int) -> tuple[Tensor, Tensor]:
        """`forward` for one scheme, each of shape (compositions,)."""
        pooled, baseline = self.pool(batch), self.baseline(batch)[:, scheme]
        mean, scale = self.head(pooled, self._column(scheme, len(pooled)))
        return baseline + self.scale * mean, self.scale * scale

    def _column(self, scheme: int, rows: int) -> Tensor:
        return torch.full((rows,), scheme, device=self.device)

    def with_scheme(self, name: str, nearest: int, offset: float) -> Network:
        """A copy that knows one more scheme: the one in row `nearest` plus `offset` (eV/atom) everywhere.

        Fractions add up to 1, so an offset on every element's reference is a constant.
        """
        network = Network(replace(self.config, schemes=(*self.config.schemes, name)), self.properties)
        weights = dict(self.state_dict())
        for key in ("reference", "head.shift.weight", "head.stretch.weight"):
            weights[key] = torch.cat([weights[key], weights[key][nearest : nearest + 1]])
        weights["reference"][-1] += offset
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)


class Head(nn.Module):
    """Pooled representation and scheme -> mean and scale, in units of `Network.scale`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.shift = nn.Embedding(len(config.schemes), config.pooled)
        self.stretch = nn.Embedding(len(config.schemes), config.pooled)
        nn.init.normal_(self.shift.weight, std=0.1)
        nn.init.zeros_(self.stretch.weight)
        self.norm = nn.LayerNorm(config.pooled)
        self.hidden = nn.Linear(config.pooled, config.pooled)
        self.hidden2 = nn.Linear(config.pooled, config.pooled)
        self.mean = nn.Linear(config.pooled, 1)
        self.spread = nn.Sequential(nn.Linear(config.pooled, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, pooled: Tensor, scheme: Tensor, drop: MaskPool | None = None) -> tuple[Tensor, Tensor]:
        """Mean and Laplace scale, each of shape (rows,), for rows with one scheme index each."""
        x = self.norm(pooled) * (1.0 + self.stretch(scheme)) + self.shift(scheme)
        x = functional.silu(self.hidden(drop(x) if drop else x))
        x = x + functional.silu(self.hidden2(drop(x) if drop else x))
        # The spread learns from detached features: it cannot trade accuracy of the mean for likelihood.
        spread = functional.softplus(self.spread(x.detach()).squeeze(1)) + 1e-3
        return self.mean(x).squeeze(1), spread


def _gated_sum(value: Tensor, logits: Tensor, groups: tuple[tuple[int, int], ...]) -> Tensor:
    """Sum of `value` over each composition, weighted by the softmax of `logits`; 8 gates share the columns."""
    out, gates = [], logits.shape[1]
    sizes = [count * length for count, length in groups]
    for shape, part, logit in zip(groups, torch.split(value, sizes), torch.split(logits, sizes), strict=True):
        weights = torch.softmax(logit.view(*shape, gates, 1), dim=1)
        out.append((part.view(*shape, gates, -1) * weights).sum(dim=1).flatten(1))
    return torch.cat(out)
