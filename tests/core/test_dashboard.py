"""Every metric, and every label of ours, that the Grafana dashboard asks for is one that somebody exports."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text())
MAKERS = ("actors/metrics.py", "tune/watching.py", "serve/app.py")
SUFFIXES = {"Gauge": {""}, "Counter": {"_total"}, "Histogram": {"_bucket", "_sum", "_count"}}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


def made_here() -> dict[str, str]:
    """Names of our metrics with their kinds, from the code that makes them."""
    text = "\n".join((ROOT / place).read_text() for place in MAKERS)
    return {name: kind for kind, name in re.findall(r'(Gauge|Counter|Histogram)\(\s*"(discovery_\w+)"', text)}


def made_by_ray() -> str:
    """Ray's own code: metrics of Serve and of nodes, and the queries of the dashboards that it ships."""
    (root,) = find_spec("ray").submodule_search_locations
    places = ("serve/**/*.py", "dashboard/modules/metrics/dashboards/*.py", "dashboard/modules/reporter/*.py")
    return "\n".join(path.read_text() for place in places for path in Path(root).glob(place))


def metrics(query: str) -> set[str]:
    return set(re.findall(r"\bray_(\w+)", query))


def test_there_is_something_to_check():
    names = set().union(*map(metrics, QUERIES))
    assert len(PANELS) >= 15
    assert {name for name in names if name.startswith("discovery_")} >= {
        "discovery_round",
        "discovery_candidates_total",
    }
    assert any(name.startswith("serve_") for name in names)


@pytest.mark.parametrize("name", sorted(n for q in QUERIES for n in metrics(q) if n.startswith("discovery_")))
def test_our_metrics_exist_with_the_suffix_that_prometheus_gives_them(name):
    exported = {base + suffix for base, kind in made_here().items() for suffix in SUFFIXES[kind]}
    assert name in exported


def test_every_metric_of_ours_is_shown():
    shown = {name for query in QUERIES for name in metrics(query)}
    unseen = [base for base, kind in made_here().items() if not any(base + end in shown for end in SUFFIXES[kind])]
    assert not unseen


def test_rays_metrics_exist():
    source = made_by_ray()
    kinds = {name: kind for kind, name in re.findall(r'(Gauge|Counter|Histogram)\(\s*"((?:serve|node)_\w+)"', source)}
    exported = {base + suffix for base, kind in kinds.items() for suffix in SUFFIXES[kind]}
    theirs = {name for query in QUERIES for name in metrics(query) if not name.startswith("discovery_")}
    missing = {name for name in theirs - exported if f"ray_{name}" not in source}
    assert not missing


def test_our_labels_exist():
    tags = {
        "le",
        *re.findall(r'"(campaign|stage|reached|reason|oracle)"', (ROOT / MAKERS[0]).read_text()),
        *re.findall(r'"(search|trial|status)"', (ROOT / MAKERS[1]).read_text()),
    }
    for query in QUERIES:
        if "ray_discovery_" not in query or "ray_discovery_batch" in query:  # Serve labels its deployments' batches
            continue
        grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
        asked = set(re.findall(r'(\w+)=~?"', query))
        assert grouped | asked <= tags, query
        assert 'campaign=~"$campaign"' in query or "ray_discovery_tune_" in query, (
            f"{query} would mix campaigns that were not chosen"
        )


def test_panels_do_not_overlap_and_have_their_own_ids():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
