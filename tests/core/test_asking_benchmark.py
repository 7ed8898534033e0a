import json

from benchmarks.asking import main


def test_every_stage_is_timed(tmp_path, capsys):
    flags = ["--candidates", "60", "--batch", "5", "--answers", "20", "--threads", "1"]
    assert main([*flags, "--out", str(tmp_path / "a.json")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "a.json").read_text())
    assert set(result["seconds"]) == {
        "energies and hull", "likelihood", "judge", "neighbours", "batch by value", "joint batch",
    }  # fmt: skip
    assert min(result["seconds"].values()) >= 0.0
    assert result["seconds_per_chosen_candidate"] > 0.0
