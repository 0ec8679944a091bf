"""demo and bench without a server: scenes, verdicts, chart."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ElementTree

import pytest

import seqcache
from seqcache.cli import chart, demo, main, peers, rates, tour

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Rates are not what is tested."""
    monkeypatch.setattr(tour, "RATE_SECONDS", 0.01)
    monkeypatch.setattr(tour, "CALLS", 200)


def test_demo_shows_what_it_says_and_ends_with_0(capsys):
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n   ok  ") == len(tour.SCENES)
    assert '   >>> cache.increase_seq("alice")\n   1\n' in out
    assert "OutcomeUnknown: increase_seq('alice')" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_demo_in_json_has_one_object_a_scene(capsys):
    assert main(["demo", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["scene"] for row in rows] == [s.__name__ for s in tour.SCENES]
    assert all(row["ok"] for row in rows)


def test_quiet_demo_prints_verdicts_only(capsys):
    assert main(["demo", "-q"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == len(tour.SCENES)
    assert all(line.startswith("   ok  ") for line in out)


def test_demo_without_url_leaves_the_environments_server_alone(monkeypatch, capsys):
    monkeypatch.setenv("SEQCACHE_URL", "redis://127.0.0.1:1/0")
    assert main(["demo", "-q"]) == 0


def test_scene_that_does_not_hold_fails_the_demo(monkeypatch, capsys):
    def broken(stage, seqs):
        stage.verdict(False, "not so")
        return {"ok": False}

    monkeypatch.setattr(demo, "SCENES", (tour.increase, broken))
    assert main(["demo"]) == 1
    out = capsys.readouterr().out
    assert "FAILED  not so" in out
    assert "This is not as it should be: broken" in out


def test_bench_of_memory_measures_us_and_says_why_not_others(capsys):
    words = ["bench", "--url", "memory://", "--rounds", "1", "--seconds", "0.01"]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["work"] for row in report["results"]] == list(rates.LABELS)
    assert {row["client"] for row in report["results"]} == {"seqcache"}
    assert all(row["per_second"] > 0 for row in report["results"])
    assert report["missing"][0]["reason"] == "needs a server (--url)"
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("one thread ")
    assert "redis-py: needs a server (--url)\n" in err


def test_peer_that_fails_loses_only_its_own_column(monkeypatch, capsys):
    def bad(config):
        def fail():
            raise RuntimeError("no such luck")

        return [peers.Client("unlucky", "1", fail, fail)], []

    monkeypatch.setattr("seqcache.cli.bench.installed", bad)
    words = ["--url", "memory://", "--rounds", "2", "--seconds", "0.01", "--json"]
    assert main(["bench", *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {row["client"] for row in report["results"]} == {"seqcache"}
    reason = "RuntimeError: no such luck"
    assert report["missing"] == [{"client": "unlucky", "reason": reason}]


def test_bench_fails_when_we_fail(monkeypatch, capsys):
    def fail():
        raise seqcache.ServerError("OOM no", hint="free some")

    broken = peers.Client("seqcache", "1", fail, fail)
    monkeypatch.setattr("seqcache.cli.bench.ourselves", lambda seqs: broken)
    assert main(["bench", "--url", "memory://", "--seconds", "0.01"]) == 1
    assert capsys.readouterr().err == "seqcache: OOM no\n  hint: free some\n"


def test_thread_that_fails_fails_the_demo_with_its_error(monkeypatch, capsys):
    def fail(self, user_id, by=1):
        raise seqcache.ConnectError("gone")

    monkeypatch.setattr(seqcache.SeqCache, "increase_seq", fail, raising=False)
    monkeypatch.setattr(demo, "SCENES", (tour.threads,))
    assert main(["demo", "-q"]) == 3
    assert capsys.readouterr().err == "seqcache: gone\n"


def test_rates_pass_on_what_a_thread_raises():
    def fail(user):
        raise RuntimeError("no such luck")

    with pytest.raises(RuntimeError, match="no such luck"):
        rates.many_threads(fail, 30.0)


def test_rates_count_every_call():
    calls = []
    rate = rates.one_thread(calls.append, 0.05)
    assert 0 < rate * 0.05 <= len(calls)
    assert rates.rounded(64_512.3) == "64,500"
    assert rates.rounded(987.6) == "988"


def test_rates_are_never_zero_however_short_the_time():
    assert rates.many_threads(lambda user: None, 1e-9) > 0
    assert rates.one_thread(lambda user: None, 1e-9) > 0
    assert rates.in_bulk(lambda users: None, 1e-9) > 0

    async def increase(user):
        pass

    assert asyncio.run(rates.in_flight(increase, 1e-9)) > 0


def test_chart_is_svg_with_a_bar_for_each_rate():
    rows = [
        {"work": "one_thread", "client": c, "version": "1", "per_second": n}
        for c, n in (("seqcache", 100), ("a <peer>", 50))
    ]
    report = {"results": rows, "server": "s", "date": "d", "python": "p"}
    root = ElementTree.fromstring(chart.draw(report))
    bars = root.findall(f"{SVG}rect")
    assert [int(bar.get("width")) for bar in bars] == [chart.BARS, chart.BARS // 2]
    assert {bar.get("fill") for bar in bars} == {chart.OURS, chart.OTHER}
    words = [text.text for text in root.findall(f"{SVG}text")]
    assert "a <peer> 1" in words


def test_bench_writes_the_chart_it_is_asked_for(tmp_path, capsys):
    target = tmp_path / "out.svg"
    words = ["--url", "memory://", "--rounds", "1", "--seconds", "0.01"]
    assert main(["bench", *words, "--plot", str(target)]) == 0
    assert len(ElementTree.parse(target).getroot().findall(f"{SVG}rect")) == 4
    assert f"chart: {target}\n" in capsys.readouterr().err


def test_chart_that_cannot_be_written_fails_with_1(tmp_path, capsys):
    words = ["--url", "memory://", "--rounds", "1", "--seconds", "0.01"]
    assert main(["bench", *words, "--plot", str(tmp_path / "no" / "x.svg")]) == 1
    assert "No such file" in capsys.readouterr().err
