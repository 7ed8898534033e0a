"""What the page reads from a CIF is the crystal that pymatgen wrote, and what it draws of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from discovery.oracles.potential import cif_of
from tests.running import Running

PRISM = Lattice.from_parameters(5.1, 6.2, 7.3, 90, 104, 90)
CRYSTALS = {
    "rock salt": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "wurtzite": Structure.from_spacegroup(
        "P6_3mc", Lattice.hexagonal(3.82, 6.26), ["Zn", "S"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.375]]
    ),
    "rhombohedral": Structure.from_spacegroup(
        "R-3c", Lattice.hexagonal(4.76, 12.99), ["Al", "O"], [[0, 0, 0.352], [0.306, 0, 0.25]]
    ),
    "monoclinic": Structure.from_spacegroup("P2_1/c", PRISM, ["Zr", "O"], [[0.27, 0.04, 0.21], [0.07, 0.33, 0.35]]),
    "triclinic": Structure(
        Lattice.from_parameters(4.1, 5.2, 6.3, 75, 83, 97),
        ["Li", "Fe", "O"],
        [[0, 0, 0], [0.4, 0.5, 0.6], [0.9, 0.2, 0.3]],
    ),
}
READ = "async (cif) => (await import('/assets/cif.js')).crystal(cif)"
DRAW = """async (cif) => {
  const [{ crystal }, { scene }] = await Promise.all([import('/assets/cif.js'), import('/assets/geometry.js')]);
  const { atoms, bonds, edges } = scene(crystal(cif));
  return { atoms, edges, bonds: bonds.map(([i, j]) => [atoms[i].element, atoms[j].element].sort().join('-')) };
}"""

TURN = """async () => {
  const { after, rotation } = await import('/assets/geometry.js');
  return after(rotation(0.3, 0.4), rotation(1, 2));
}"""


@pytest.fixture
def opened(service: Running, page: Page) -> Page:
    page.goto(service.url)
    return page


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("write", [cif_of, lambda structure: str(CifWriter(structure))], ids=["symmetry", "P1"])
def test_the_page_reads_the_same_crystal(opened: Page, name: str, write: Callable[[Structure], str]) -> None:
    wanted = CRYSTALS[name]
    text = "# scheme: chgnet-0.3.0 'quoted' _cell_length_a 1\n" + write(wanted)
    found = opened.evaluate(READ, text)
    assert len(found["atoms"]) % len(wanted) == 0 or len(wanted) % len(found["atoms"]) == 0
    read = Structure(
        found["vectors"], [atom["element"] for atom in found["atoms"]], [atom["xyz"] for atom in found["atoms"]]
    )
    assert read.density == pytest.approx(wanted.density, rel=1e-3)
    assert StructureMatcher(scale=False, stol=0.02, ltol=0.01, angle_tol=0.5).fit(read, wanted)


def test_a_perovskite_is_drawn_with_its_octahedron(opened: Page) -> None:
    perovskite = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    )
    drawn = opened.evaluate(DRAW, str(perovskite.to(fmt="cif")))
    counts = {symbol: sum(atom["element"] == symbol for atom in drawn["atoms"]) for symbol in ("Sr", "Ti", "O")}
    assert counts == {"Sr": 8, "Ti": 1, "O": 6}, "corners and faces are drawn whole"
    assert drawn["bonds"].count("O-Ti") == 6
    assert "Sr-Ti" not in drawn["bonds"]
    lengths = [np.linalg.norm(np.subtract(*edge)) for edge in drawn["edges"]]
    assert lengths == pytest.approx([3.905] * 12)


def test_turning_keeps_lengths(opened: Page) -> None:
    turned = opened.evaluate(TURN)
    assert np.array(turned) @ np.array(turned).T == pytest.approx(np.eye(3))


@pytest.mark.parametrize(
    ("text", "turned"), [("-x+y, 1/2-z, x", [0.1, 0.2, 0.1]), ("x-1/3,y,-z+0.5", [-7 / 30, 0.2, 0.2])]
)
def test_symmetry_operations(opened: Page, text: str, turned: list[float]) -> None:
    found = opened.evaluate("async (text) => (await import('/assets/cif.js')).operation(text)([0.1, 0.2, 0.3])", text)
    assert found == pytest.approx(turned)


def test_a_cif_without_a_crystal_is_refused(opened: Page) -> None:
    message = opened.evaluate(
        "async () => { const { crystal } = await import('/assets/cif.js');"
        " try { crystal('data_x'); return ''; } catch (error) { return error.message; } }"
    )
    assert "no cell or no atoms" in message
