"""Any provider of the OPTIMADE interface, through the `optimade` package's client; no key is needed.

OPTIMADE has no field of its own for energies, so each provider uses another name. Those of the Materials Project, OQMD
and Alexandria are known here; for any other provider the name is given behind the address:
``optimade:https://example.org/optimade#formation_energy=_exmpl_eform&energy_above_hull=_exmpl_ehull``, with a dot where
a field holds further ones. Energies are taken as eV/atom, elements at 0.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from discovery.errors import ConfigError, DataError, FetchError, SchemeError
from discovery.reference.base import Reference
from discovery.reference.cache import Cache, home
from discovery.reference.download import in_one_line, obtain
from discovery.reference.entries import Entry, Fetched, number, reference_of
from discovery.reference.selection import Selection, elements_of

CHUNK = 20  # chemical systems, or ids, of one request: a filter of about 1,000 characters
PAGE = 100  # entries of one page, where the provider allows it (20 is a usual default)
RETRIES = 4  # of a request, after 429 and 5xx; a server's Retry-After is honoured
BACKOFF_S = 1.0  # seconds between them where the server names none: 0, 2, 4, 8
STRUCTURE_FIELDS = ("lattice_vectors", "cartesian_site_positions", "species", "species_at_sites")


@dataclass(frozen=True)
class Energies:
    """Where a provider keeps its energies: names of fields, with dots between nested ones."""

    formation_energy: str  # eV/atom
    energy_above_hull: str = ""  # eV/atom; "" where there is none
    scheme: str = ""  # "" where the user has to name it


KNOWN = (
    Energies(
        "_mp_stability.gga_gga+u.formation_energy_per_atom", "_mp_stability.gga_gga+u.energy_above_hull", "mp2020"
    ),
    Energies("_oqmd_delta_e", "_oqmd_stability", "oqmd"),
    # The same names at its addresses for PBE, PBEsol and SCAN: the scheme is the user's to name.
    Energies("_alexandria_formation_energy_per_atom", "_alexandria_hull_distance"),
)


@dataclass(frozen=True)
class Provider:
    """What stands behind ``optimade:``."""

    url: str
    energies: Energies | None = None  # None: looked up in the provider's list of properties
    selection: Selection | None = None

    @classmethod
    def parse(cls, text: str) -> Provider:
        """``URL``, then after ``#`` and between ``&``: `systems=`, `formation_energy=`, `energy_above_hull=`.

        Raises:
            ConfigError: no address, or an unknown key.
        """
        url, _, rest = text.partition("#")
        given = dict(part.partition("=")[::2] for part in rest.split("&") if part)
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ConfigError(f"{url!r} is no address: give optimade:https://..., without /v1/structures")
        if unknown := sorted(set(given) - {"systems", "formation_energy", "energy_above_hull"}):
            raise ConfigError(f"{unknown[0]!r} is unknown: give systems=, formation_energy= or energy_above_hull=")
        energies = None
        if name := given.get("formation_energy"):
            energies = Energies(name, given.get("energy_above_hull", ""))
        selection = Selection.parse(given["systems"]) if "systems" in given else None
        return cls(re.sub(r"(/v1)?/*$", "", url), energies, selection)


def load_optimade(text: str, wanted: Selection | None, scheme: str | None = None) -> Reference:
    """The reference of the option ``--reference optimade:TEXT``; without a network where the cache has all of it.

    Args:
        text: see `Provider.parse`.
        wanted: what to fetch where the text names no systems; None takes everything in the cache.
        scheme: of a provider whose energies have no scheme that is known here.

    Raises:
        ConfigError: a wrong address, or a provider whose energies have no known name.
        SchemeError: its scheme is not known, and none is given.
        FetchError: the provider cannot be reached, or the download stopped.
        DataError: no entry has an energy.
    """
    provider = Provider.parse(text)
    return reference_of(f"optimade:{text}", fetch_optimade(provider, provider.selection or wanted, scheme))


def fetch_optimade(
    provider: Provider,
    wanted: Selection | None,
    scheme: str | None = None,
    structures: bool = False,
    refresh: bool = False,
) -> Fetched:
    """Entries of a provider; arguments and errors as in `load_optimade` and `download.obtain`."""
    source = Optimade(provider, scheme)
    fetched = obtain(source, wanted, structures, refresh)
    if fetched.entries and all(entry.formation_energy_per_atom is None for entry in fetched.entries):
        raise DataError(
            f"none of the {len(fetched.entries)} entries of {provider.url} has a formation energy "
            f"({'; '.join(fetched.details)}): name another field with #formation_energy=NAME"
        )
    return dataclasses.replace(fetched, scheme=_scheme(provider, fetched.scheme, scheme))


class Optimade:
    """A `download.Source`. OPTIMADE states no version of a database: the time of the first download stands for it."""

    chunk = CHUNK

    def __init__(self, provider: Provider, scheme: str | None = None) -> None:
        self._provider = provider
        self._given_scheme = scheme
        self._energies = provider.energies or Energies("")
        self._name = ""
        self._client: Any = None
        self._page: int | None = PAGE

    @property
    def title(self) -> str:
        """Its address."""
        return self._provider.url

    @property
    def option(self) -> str:
        """How `--reference` names it."""
        return f"optimade:{self._provider.url}"

    @property
    def cache(self) -> Cache:
        """A folder for each provider, and for each choice of fields."""
        address = urlsplit(self._provider.url)
        name = re.sub(r"[^\w.-]+", "_", f"{address.netloc}{address.path}")
        if self._provider.energies is not None:
            name += "-" + hashlib.sha256(repr(self._provider.energies).encode()).hexdigest()[:8]
        return Cache(home() / "optimade" / name)

    def connect(self, known: Sequence[str]) -> str:
        """Find out the provider's name and fields; returns the newest version in the cache, or a new one."""
        from optimade.client import OptimadeClient

        # One request after the other; no limit on entries (the client's own default is 1,000).
        self._client = OptimadeClient(
            self._provider.url,
            max_results_per_provider=10**9,
            use_async=False,
            silent=True,
            http_client=_patient_session(),
        )
        data, meta = self._get("info/structures", "", None)
        self._name = str((meta.get("provider") or {}).get("name") or urlsplit(self._provider.url).netloc)
        properties = data.get("properties") if isinstance(data, Mapping) else None
        self._energies = self._provider.energies or _known_energies(self._provider.url, sorted(properties or ()))
        _scheme(self._provider, self._energies.scheme, self._given_scheme)
        return known[0] if known else f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}"

    def facts(self) -> Mapping[str, str]:
        """Scheme ("" where the user names it), attribution and fields."""
        return {
            "scheme": self._energies.scheme,
            "attribution": f"{self._name} through OPTIMADE ({self._provider.url}): its licence and citation hold",
            "detail": f"formation energies from {self._energies.formation_energy}, "
            f"fetched on {datetime.now(UTC):%Y-%m-%d}",
        }

    def fetch(self, selection: Selection, structures: bool) -> list[Entry]:
        """The entries of some chemical systems or ids."""
        names = [path.split(".")[0] for path in (self._energies.formation_energy, self._energies.energy_above_hull)]
        fields = ["chemical_formula_reduced", "elements", *dict.fromkeys(name for name in names if name)]
        fields += STRUCTURE_FIELDS if structures else ()
        data, _ = self._get("structures", filter_of(selection), fields)
        try:
            return [_entry(resource, self._energies, structures) for resource in data]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FetchError(f"an entry that is no OPTIMADE structure ({type(error).__name__}: {error})") from error

    def _get(self, endpoint: str, query: str, fields: list[str] | None) -> tuple[Any, Mapping[str, Any]]:
        """Data and metadata of all pages of an answer."""
        limit = self._page if fields else None
        found = self._client.get_one(endpoint, query, self._provider.url, response_fields=fields, page_limit=limit)
        [result] = found.values()
        if not result.errors:
            return result.data, result.meta
        if limit and re.search(r"\b403\b", str(result.errors[0])):
            self._page = None  # the answer that the standard demands where a page is too long for the provider
            return self._get(endpoint, query, fields)
        raise FetchError(in_one_line(str(result.errors[0])))


def filter_of(selection: Selection) -> str:
    """A filter of mandatory operators alone, which every provider has to understand."""
    parts = []
    for key in sorted(selection.systems):
        named, size = elements_of(key)
        quoted = ",".join(f'"{symbol}"' for symbol in named)
        parts.append(f"(elements HAS ALL {quoted} AND nelements={size})" if named else f"(nelements={size})")
    parts += [f'(id="{key}")' for key in sorted(selection.ids)]
    return " OR ".join(parts)


def _known_energies(url: str, properties: Sequence[str]) -> Energies:
    for energies in KNOWN:
        if energies.formation_energy.split(".")[0] in properties:
            return energies
    similar = [name for name in properties if re.search("energ|stability|hull|delta", name)]
    raise ConfigError(
        f"{url} gives no formation energies under a name that is known here (of its properties, "
        f"{', '.join(similar) or 'none'} may be one): name the field, as in optimade:{url}#formation_energy=NAME"
    )


def _scheme(provider: Provider, own: str, given: str | None) -> str:
    if not own and not given:
        raise SchemeError(f"the energies of {provider.url} have no scheme that is known here: give --scheme NAME")
    return own or str(given)


def _entry(resource: Mapping[str, Any], energies: Energies, structures: bool) -> Entry:
    attributes = resource["attributes"]
    return Entry(
        material_id=str(resource["id"]),
        formula=str(attributes["chemical_formula_reduced"]),
        chemical_system="-".join(sorted(attributes["elements"])),
        formation_energy_per_atom=number(_value(attributes, energies.formation_energy)),
        energy_above_hull=number(_value(attributes, energies.energy_above_hull)),
        cif=_cif(attributes) if structures else None,
    )


def _value(attributes: Mapping[str, Any], path: str) -> object:
    """What stands at a path of field names; None where any of them is missing."""
    value: object = attributes
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _cif(attributes: Mapping[str, Any]) -> str | None:
    """The structure as CIF; None where it is not given, or its sites are not one element each."""
    from pymatgen.core import Structure

    if not all(attributes.get(name) for name in STRUCTURE_FIELDS):
        return None
    symbols = {species["name"]: species["chemical_symbols"] for species in attributes["species"]}
    sites = [symbols[name] for name in attributes["species_at_sites"]]
    if any(len(site) != 1 or site[0] in ("X", "vacancy") for site in sites):
        return None
    positions = attributes["cartesian_site_positions"]
    structure = Structure(
        attributes["lattice_vectors"], [site[0] for site in sites], positions, coords_are_cartesian=True
    )
    return str(structure.to(fmt="cif"))


def _patient_session() -> type[Any]:
    """A class of sessions that wait and ask again: the client's own way never ends while a server answers 429."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    class Session(requests.Session):  # type: ignore[misc] # requests has no types
        def __init__(self) -> None:
            super().__init__()
            retry = Retry(total=RETRIES, backoff_factor=BACKOFF_S, status_forcelist=(429, 500, 502, 503, 504))
            self.mount("http://", HTTPAdapter(max_retries=retry))
            self.mount("https://", HTTPAdapter(max_retries=retry))

    return Session
