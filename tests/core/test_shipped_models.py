import numpy as np
import pytest

from discovery.generators.base import SamplingOptions
from discovery.generators.zoo import FAMILIES, PRETRAINED, SHIPPED, load_generator, names
from discovery.metrics import reduced
from discovery.model_files import CARD, read_json
from discovery.validity import judge

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDERS = sorted(PRETRAINED.glob(f"*{SHIPPED}"))
EACH = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_every_family_ships_within_sixty_megabytes():
    shipped = {folder.name.removesuffix(SHIPPED) for folder in FOLDERS}
    assert set(FAMILIES) <= shipped <= set(names())
    assert sum(file.stat().st_size for file in PRETRAINED.rglob("*") if file.is_file()) < 60e6


@EACH
def test_a_shipped_model_is_what_its_card_says(folder):
    card, model = read_json(folder / CARD), load_generator(folder.name.removesuffix(SHIPPED))
    assert card["version"] == model.version
    assert card["licence"] == "CC BY 4.0"
    assert card["data"]["train"] > 10_000
    assert card["results"]["free"]["n"] == 10_000


@EACH
def test_a_shipped_model_writes_as_well_as_its_card_says(folder):
    model, said = load_generator(str(folder)), read_json(folder / CARD)["results"]["free"]
    formulas = [reduced(sample) for sample in model.sample(400, np.random.default_rng(3), SamplingOptions())]
    verdicts = [judge(formula) for formula in formulas if formula is not None]
    neutral = sum(verdict.charge_neutral for verdict in verdicts) / 400
    balanced = sum(verdict.electronegativity_balanced for verdict in verdicts) / 400
    assert said["charge_neutral"] > 0.8
    assert said["electronegativity_balanced"] > 0.7
    assert neutral == pytest.approx(said["charge_neutral"], abs=0.06)  # four standard errors
    assert balanced == pytest.approx(said["electronegativity_balanced"], abs=0.06)
