"""Speed of generation: the published procedure, `transformers.generate` in batches, and ours, in one run on one thread.

    python -m benchmarks.generation --model NAME|DIR --data DIR --out DIR [--n N] [--sequences N] [--profile]

DIR of ``--data`` is the folder of `discovery.datasets` that the model, a GPT-2, was trained on. What counts: balanced,
distinct compositions outside the training part, per second of processor time. The published procedure (Fu et al. 2023;
see `benchmarks.streams`) gets a network of the same size; ``--sequences`` of its sequences are written. Also measured:
how tokens per second grow with batch and model size, the rate of the machine's matrix products on one thread, and which
share of it sampling reaches (two operations per weight and token that a network reads). Prints Markdown, writes
`results.json` into ``--out``.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.language_tables import table
from benchmarks.streams import published, stream_model
from discovery import model_files
from discovery.composition import amounts, canonical_key
from discovery.decoding import sample_of
from discovery.errors import ConfigError
from discovery.evaluate import read_compounds
from discovery.generators.base import SamplingOptions
from discovery.generators.causal import GPT2, CausalGenerator
from discovery.generators.zoo import load_generator
from discovery.metrics import reduced
from discovery.options import exit_with
from discovery.validity import judge
from discovery.vocabulary import END, PAD, START

MATRIX = 1024  # rows and columns of the product that gives the machine's rate
SIZES = ((2, 64, 2), (4, 128, 4), (8, 180, 4), (8, 256, 8))  # layers, width, heads; the third is the published one
BATCHES = (1, 32, 128, 512, 2048)
Results = dict[str, Any]


@dataclass
class Reads:
    """Tokens that a network has read."""

    tokens: int = 0


def main(argv: list[str] | None = None) -> int:
    """Measure all procedures and print."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(1)
    generator = load_generator(args.model)
    if not isinstance(generator, CausalGenerator) or generator.name != GPT2.name:
        raise ConfigError(f"{args.model} is no GPT-2, which the comparison is made for: name one with --model")
    rate = matrix_rate()
    training = read_compounds(args.data / "train.csv")
    batches = [scaling(generator, batch, args.n, rate) for batch in BATCHES]
    report: Results = {
        "model": generator.version,
        "gigaflops_of_the_machine": rate / 1e9,
        "procedures": [judged(row, training, rate) for row in procedures(generator, args, batches)],
        "batches": batches,
        "sizes": [scaling(GPT2.of_size(*size), args.batch_size, args.n, rate) for size in SIZES],
    }
    model_files.write_json(args.out / "results.json", report)
    print(_markdown(report))
    if args.profile:
        profile(generator, args)
    return 0


def procedures(generator: CausalGenerator, args: argparse.Namespace, batches: Sequence[Results]) -> Iterator[Results]:
    """Formulas, tokens read and seconds of each procedure, each in the batches that it was quickest with."""
    theirs, own = (best_batch(batches, name) for name in ("generate", "ours"))
    stream = stream_model(args.data, args.out / "stream", args.stream_epochs)
    yield timed("published", stream, lambda: published(stream.network, args.sequences, np.random.default_rng(0)))
    yield timed(
        f"transformers.generate, batches of {theirs}", generator, lambda: batched_generate(generator, args.n, theirs)
    )
    for name, constrained in (("free", False), ("constrained", True)):
        options = SamplingOptions(constrained=constrained, batch_size=own)
        row = timed(f"ours, {name}, batches of {own}", generator, lambda: ours(generator, args.n, options))  # noqa: B023
        yield row


def best_batch(batches: Sequence[Results], name: str) -> int:
    """The batch size with the most sequences per second."""
    return int(max(batches, key=lambda row: row[f"{name}_sequences_per_second"])["batch"])


def ours(generator: CausalGenerator, n: int, options: SamplingOptions) -> list[str | None]:
    """Reduced formulas of `n` samples."""
    return [reduced(sample) for sample in generator.sample(n, np.random.default_rng(0), options)]


def batched_generate(generator: CausalGenerator, n: int, batch_size: int) -> list[str | None]:
    """Reduced formulas of `n` sequences that `transformers` draws, with its cache."""
    torch.manual_seed(0)
    formulas: list[str | None] = []
    while len(formulas) < n:
        rows = min(batch_size, n - len(formulas))
        tokens = generate(generator.network, torch.full((rows, 1), START))
        formulas += [reduced(sample_of(_until_end(row), 0.0)) for row in tokens[:, 1:].tolist()]
    return formulas


def generate(network: Any, begun: torch.Tensor) -> torch.Tensor:
    """Sampled continuations up to the context, shape (rows, length)."""
    options = {"do_sample": True, "top_k": 0, "pad_token_id": PAD, "eos_token_id": END, "use_cache": True}
    longest = int(network.config.max_position_embeddings)
    drawn: torch.Tensor = network.generate(begun, attention_mask=torch.ones_like(begun), max_length=longest, **options)
    return drawn


def timed(name: str, generator: CausalGenerator, write: Callable[[], Sequence[str | None]]) -> Results:
    """What a procedure wrote, and its processor time; a first call that does not count warms up."""
    with counted(generator.network) as reads:
        began = time.process_time()
        formulas = write()
        seconds = time.process_time() - began
    return {"name": name, "formulas": formulas, "seconds": seconds, "flop": 2 * weights(generator) * reads.tokens}


def judged(row: Results, training: set[str], rate: float) -> Results:
    """Rates of a procedure: balanced, distinct, new compositions per second, and the share of the matrix rate."""
    written = [formula for formula in row["formulas"] if formula is not None]
    balanced = [formula for formula in written if judge(formula).electronegativity_balanced]
    distinct = {canonical_key(amounts(formula)) for formula in balanced}
    return {
        "name": row["name"],
        "sequences": len(row["formulas"]),
        "balanced": len(balanced),
        "distinct": len(distinct),
        "new": len(distinct - training),
        "seconds": row["seconds"],
        "new_per_second": len(distinct - training) / row["seconds"],
        "share_of_matrix_rate": row["flop"] / row["seconds"] / rate,
    }


def scaling(generator: CausalGenerator, batch_size: int, n: int, rate: float) -> Results:
    """Tokens per second of `generate` and of ours at one batch and model size, `n` sequences or ten batches."""
    count = min(n, 10 * batch_size)
    rows = (
        timed("generate", generator, lambda: batched_generate(generator, count, batch_size)),
        timed("ours", generator, lambda: ours(generator, count, SamplingOptions(batch_size=batch_size))),
    )
    return {
        "weights": weights(generator),
        "batch": batch_size,
        **{f"{row['name']}_sequences_per_second": count / row["seconds"] for row in rows},
        **{f"{row['name']}_share": row["flop"] / row["seconds"] / rate for row in rows},
    }


def weights(generator: CausalGenerator) -> int:
    """Weights that multiply each token: all matrices but the tables of embeddings, the output layer among them."""
    network = generator.network
    tables = {id(network.transformer.wte.weight), id(network.transformer.wpe.weight)}
    inner = sum(p.numel() for p in network.parameters() if p.ndim > 1 and id(p) not in tables)
    return int(inner + network.lm_head.weight.numel())


def matrix_rate() -> float:
    """Floating-point operations per second of processor time in the best of ten large products."""
    first, second = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    best = float("inf")
    for _ in range(10):
        began = time.process_time()
        torch.mm(first, second)
        best = min(best, time.process_time() - began)
    return 2 * MATRIX**3 / best


@contextmanager
def counted(network: Any) -> Iterator[Reads]:
    """Count the tokens that a network reads meanwhile."""
    reads = Reads()

    def count(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        reads.tokens += kwargs["input_ids"].numel()

    handle = network.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield reads
    finally:
        handle.remove()


def profile(generator: CausalGenerator, args: argparse.Namespace) -> None:
    """Print where ours spends its time."""
    for constrained in (False, True):
        options = SamplingOptions(constrained=constrained, batch_size=args.batch_size)
        profiler = cProfile.Profile()
        profiler.runcall(ours, generator, args.n, options)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


def _until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(END) + 1] if END in tokens else tokens


def _markdown(report: Results) -> str:
    head = ("procedure", "sequences", "balanced", "distinct", "new", "CPU s", "new per CPU s", "against published",
            "against generate", "share of matrix rate")  # fmt: skip
    rows = report["procedures"]
    base, batched = rows[0]["new_per_second"], rows[1]["new_per_second"]
    lines = [
        (
            row["name"],
            *(f"{row[name]:,}" for name in ("sequences", "balanced", "distinct", "new")),
            f"{row['seconds']:.1f}",
            f"{row['new_per_second']:.1f}",
            f"{row['new_per_second'] / base:.1f}" if base else "",
            f"{row['new_per_second'] / batched:.2f}" if batched else "",
            f"{row['share_of_matrix_rate']:.3f}",
        )
        for row in rows
    ]
    growth = ("weights", "batch", "generate: sequences / CPU s", "ours", "ratio", "share, generate", "share, ours")
    scaled = [
        (
            f"{row['weights']:,}",
            f"{row['batch']:,}",
            f"{row['generate_sequences_per_second']:,.1f}",
            f"{row['ours_sequences_per_second']:,.1f}",
            f"{row['ours_sequences_per_second'] / row['generate_sequences_per_second']:.2f}",
            f"{row['generate_share']:.3f}",
            f"{row['ours_share']:.3f}",
        )
        for row in (*report["batches"], *report["sizes"])
    ]
    title = f"{report['model']}; matrix products: {report['gigaflops_of_the_machine']:.1f} GFLOP/s on one thread"
    return f"{title}\n\n{table(head, lines)}\n\n{table(growth, scaled)}\n"


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__)
    options.add_argument("--model", default="gpt2", metavar="NAME|DIR")
    options.add_argument("--data", required=True, type=Path, metavar="DIR", help="what the model was trained on")
    options.add_argument("--out", required=True, type=Path, metavar="DIR")
    options.add_argument("--n", type=int, default=10_000, metavar="N", help="sequences of each batched procedure")
    options.add_argument("--sequences", type=int, default=40, metavar="N", help="of 256 tokens, published procedure")
    options.add_argument("--stream-epochs", type=int, default=3, metavar="N", help="training of the published one")
    options.add_argument("--batch-size", type=int, default=512, metavar="N")
    options.add_argument("--profile", action="store_true", help="print where our sampling spends its time")
    return options


if __name__ == "__main__":
    exit_with(main)
