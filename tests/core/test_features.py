import numpy as np
import pytest
import torch
from pymatgen.core import Composition

from discovery.composition import SYMBOLS
from discovery.errors import CompositionError
from discovery.surrogates.features import (
    BASIS_SIZE,
    INDEX,
    element_properties,
    encode,
    fraction_basis,
    pack,
)


@pytest.mark.parametrize(
    "formula",
    [
        "NaCl",
        "Fe4O6",
        "Ca(OH)2",
        "Ca3(Al(OH)4)2",
        "Li(FeO2)",
        "KH2PO4",
        "Lr2No",
        "CO",
        "Co2",
        " MgO ",
        "[Fe2]O3",
        "NaN",
    ],
)
def test_encoding_agrees_with_pymatgen(formula: str) -> None:
    expected = Composition(formula).reduced_composition.get_el_amt_dict()
    if len(expected) < 2:
        with pytest.raises(CompositionError, match="fewer than two"):
            encode([formula])
        return
    data = encode(["SrTiO3", formula])
    size = data.lengths[1]
    assert dict(zip(data.elements[1, :size].tolist(), data.amounts[1, :size].tolist(), strict=True)) == {
        INDEX[symbol]: n for symbol, n in expected.items()
    }
    assert (np.diff(data.elements[1, :size]) > 0).all()
    assert not data.amounts[1, size:].any()
    assert not data.elements[1, size:].any()


@pytest.mark.parametrize("formula", ["", "Xx2O", "Fe0.5O", "Fe", "O0Fe", "Fe(O", "FeO)", "fe2o3", "Fe-O", "Fe2O3 "[:2]])
def test_what_is_no_composition_is_refused(formula: str) -> None:
    with pytest.raises(CompositionError):
        encode(["NaCl", formula])


def test_order_and_multiples_do_not_change_a_bit() -> None:
    data = encode(["Fe2O3", "O3Fe2", "Fe4O6", "Fe40O60"])
    for array in (data.elements, data.amounts, data.lengths):
        assert (array == array[0]).all()


def test_fractions_add_up_to_one() -> None:
    fractions = encode(["SrTiO3", "NaCl", "LiFePO4"]).fractions()
    np.testing.assert_allclose(fractions.sum(axis=1), 1.0, rtol=1e-12)
    assert fractions[0, INDEX["O"]] == pytest.approx(0.6)
    assert np.count_nonzero(fractions[0]) == 3


def test_packed_batch_holds_every_token_once() -> None:
    data = encode(["SrTiO3", "NaCl", "LiFePO4", "MgO"])
    batch = pack(data, np.array([2, 1, 0, 3]))
    assert batch.groups == ((2, 2), (1, 3), (1, 4))
    assert batch.order.tolist() == [1, 3, 2, 0]  # places in the batch asked for: NaCl, MgO, SrTiO3, LiFePO4
    assert batch.elements.tolist()[:4] == [INDEX["Na"], INDEX["Cl"], INDEX["O"], INDEX["Mg"]]
    assert batch.basis.shape == (11, BASIS_SIZE)
    assert float(batch.fractions.sum()) == pytest.approx(4.0)


def test_basis_peaks_at_its_centre() -> None:
    basis = fraction_basis(torch.tensor([1.0]), torch.tensor([2.0]))  # fraction 1/2 of a unit of two atoms
    assert basis[0, :33].argmax() == 16  # centre 0.5 of 33 between 0 and 1
    assert float(basis[0, 16]) == pytest.approx(1.0)
    assert float(basis[0, 17]) == pytest.approx(np.exp(-0.5), rel=1e-5)


def test_every_element_has_finite_properties() -> None:
    table = element_properties()
    assert table.shape[0] == len(SYMBOLS) == 103
    assert bool(table.isfinite().all())
    known = table[: INDEX["U"], 1].double()  # the group: no gap up to uranium
    assert float(table[INDEX["F"], 2]) == pytest.approx(float(table[:, 2].max()))  # the most electronegative
    assert known.std() > 0.5
