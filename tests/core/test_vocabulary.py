import pytest

from discovery import vocabulary
from discovery.composition import SYMBOLS, pauling_electronegativity
from discovery.vocabulary import ELEMENTS, END, FIRST_ELEMENT, PAD, SIZE, START, TOKENS


def test_every_element_has_one_token_after_the_specials():
    assert sorted(ELEMENTS) == sorted(SYMBOLS)
    assert len(set(TOKENS)) == SIZE == len(SYMBOLS) + 5
    assert TOKENS[:FIRST_ELEMENT] == ("<pad>", "<start>", "<end>", "<mask>", "<blank>")


def test_elements_ascend_in_smacts_electronegativity_ties_by_symbol():
    keys = [(pauling_electronegativity(s) or float("inf"), s) for s in ELEMENTS]
    assert keys == sorted(keys)
    assert ELEMENTS[0] == "Fr"
    assert ELEMENTS.index("W") == ELEMENTS.index("U") + 1, "SMACT gives both 1.7, pymatgen gives W 2.36"
    assert ELEMENTS[-6:] == ("Ar", "He", "Lr", "Ne", "Pm", "Rn"), "those without a value come last"


def test_strontium_titanate():
    tokens = [*vocabulary.encode({"O": 3, "Sr": 1, "Ti": 1}), END]
    assert vocabulary.sequence_text(tokens) == "Sr Ti O O O <end>"
    assert vocabulary.amounts_of(tokens) == {"Sr": 1, "Ti": 1, "O": 3}
    assert vocabulary.formula_text(vocabulary.amounts_of(tokens)) == "SrTiO3"


def test_raw_sequences_keep_their_order():
    oxygen, sodium = vocabulary.element_id("O"), vocabulary.element_id("Na")
    assert vocabulary.formula_text(vocabulary.amounts_of([oxygen, sodium, oxygen, END])) == "O2Na"


@pytest.mark.parametrize("ids", [[], [END], [START, END], [60, PAD, 60, END], [60, END, 60]])
def test_no_composition(ids):
    assert vocabulary.amounts_of(ids) is None
