"""The Materials Project, through its own client (`mp-api`): DFT formation energies of the scheme `mp2020`.

Thermo type `GGA_GGA+U`: GGA and GGA+U energies, mixed and corrected by the MP2020 scheme (A. Wang et al., Sci. Rep. 11,
15496 (2021)); energies of r2SCAN never enter. Entries are asked for by chemical system or id: the REST interface of
https://api.materialsproject.org. (A search without any filter would read the project's object storage instead, a route
that is neither used nor tested here.)

The client retries after 429, 502 and 504 by itself and keeps within the server's limits; requests go out one at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from discovery.errors import ConfigError, FetchError
from discovery.reference.base import Reference
from discovery.reference.cache import Cache, home
from discovery.reference.download import in_one_line, obtain
from discovery.reference.entries import Entry, number, reference_of
from discovery.reference.selection import Selection

SCHEME = "mp2020"
THERMO_TYPE = "GGA_GGA+U"
ENDPOINT = "https://api.materialsproject.org/"
CHUNK = 100  # chemical systems, or ids, of one request: its address stays short
FIELDS = (
    "material_id",
    "formula_pretty",
    "chemsys",
    "thermo_type",
    "formation_energy_per_atom",
    "energy_above_hull",
    "deprecated",
)
KEY_HELP = "get a key at https://materialsproject.org/api and set MP_API_KEY (or PMG_MAPI_KEY in ~/.config/.pmgrc.yaml)"


def load_materials_project(selection: Selection | None, name: str = "mp") -> Reference:
    """The reference of the option `--reference mp`; without a key and a network where the cache has all of it.

    Args:
        selection: what to fetch; None takes everything in the cache.
        name: of the reference.

    Raises:
        ConfigError: no key, a wrong one, or nothing to fetch.
        FetchError: the database cannot be reached, or the download stopped.
    """
    return reference_of(name, obtain(MaterialsProject(), selection))


class MaterialsProject:
    """A `download.Source`. The endpoint can be set by MP_API_ENDPOINT."""

    title = "the Materials Project"
    option = "mp"
    chunk = CHUNK

    def __init__(self) -> None:
        self._endpoint = (os.environ.get("MP_API_ENDPOINT") or ENDPOINT).rstrip("/") + "/"
        self._client: Any = None
        self._version = ""

    @property
    def cache(self) -> Cache:
        """A folder for each endpoint."""
        return Cache(home() / "materials_project" / urlsplit(self._endpoint).netloc.replace(":", "_"))

    def connect(self, known: Sequence[str]) -> str:  # noqa: ARG002 - the server has versions of its own
        """The version of the server's database, such as 2025.9.25."""
        key = _key()
        with _errors():
            from mp_api.client import MPRester

            self._client = MPRester(
                api_key=key, endpoint=self._endpoint, use_document_model=False, mute_progress_bars=True
            )
        self._version = str(self._client.db_version or "")
        if not self._version:
            raise FetchError(f"{self._endpoint} does not say the version of its database: try again later")
        return self._version

    def facts(self) -> Mapping[str, str]:
        """Scheme, attribution and thermo type."""
        return {
            "scheme": SCHEME,
            "attribution": f"Materials Project, database {self._version}, CC BY 4.0 "
            "(A. Jain et al., APL Mater. 1, 011002 (2013))",
            "detail": f"thermo type {THERMO_TYPE}, MP2020 corrections (A. Wang et al., Sci. Rep. 11, 15496 (2021))",
        }

    def fetch(self, selection: Selection, structures: bool) -> list[Entry]:
        """The entries of some chemical systems or ids; deprecated ones are left out."""
        asked = {"chemsys": sorted(selection.systems) or None, "material_ids": sorted(selection.ids) or None}
        with _errors():
            documents = self._client.materials.thermo.search(
                **asked, thermo_types=[THERMO_TYPE], fields=list(FIELDS), chunk_size=1000
            )
            kept = [document for document in documents if not document.get("deprecated")]
            cifs = self._cifs([str(document["material_id"]) for document in kept]) if structures else {}
            return [_entry(document, cifs) for document in kept]

    def _cifs(self, ids: Sequence[str]) -> dict[str, str]:
        """CIFs of materials; one without a structure is left out."""
        found: dict[str, str] = {}
        for start in range(0, len(ids), CHUNK):
            documents = self._client.materials.search(
                material_ids=list(ids[start : start + CHUNK]), fields=["material_id", "structure"]
            )
            found.update((str(d["material_id"]), _cif(d["structure"])) for d in documents if d.get("structure"))
        return found


def _entry(document: Mapping[str, Any], cifs: Mapping[str, str]) -> Entry:
    if document["thermo_type"] != THERMO_TYPE:
        raise FetchError(f"{document['material_id']} came with energies of type {document['thermo_type']}")
    material_id = str(document["material_id"])
    return Entry(
        material_id=material_id,
        formula=str(document["formula_pretty"]),
        chemical_system=str(document["chemsys"]),
        formation_energy_per_atom=number(document.get("formation_energy_per_atom")),
        energy_above_hull=number(document.get("energy_above_hull")),
        cif=cifs.get(material_id),
    )


def _cif(structure: Mapping[str, Any]) -> str:
    from pymatgen.core import Structure

    return str(Structure.from_dict(dict(structure)).to(fmt="cif"))


def _key() -> str:
    from pymatgen.core import SETTINGS

    key = os.environ.get("MP_API_KEY") or SETTINGS.get("PMG_MAPI_KEY")
    if not key:
        raise ConfigError(f"the Materials Project needs a key: {KEY_HELP}")
    return str(key)


@contextmanager
def _errors() -> Iterator[None]:
    """The client's errors as ours, in one line."""
    from mp_api.client.core.exceptions import MPRestError
    from requests.exceptions import RequestException

    try:
        yield
    except (MPRestError, RequestException) as error:
        text = in_one_line(str(error))
        if "status code 401" in text or "status code 403" in text or "valid API key" in text:
            raise ConfigError(f"the Materials Project refuses the key: {KEY_HELP}") from error
        raise FetchError(text) from error
    except (KeyError, TypeError, ValueError) as error:
        raise FetchError(
            f"an answer that is none of the Materials Project's ({type(error).__name__}: {error})"
        ) from error
