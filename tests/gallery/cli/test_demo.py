"""`gallery demo` on a machine that has nothing but the package."""

from gallery.cli.fit import demo_runs


def test_the_demo_needs_no_data_that_are_not_embedded(tmp_path, monkeypatch):
    monkeypatch.setenv("GALLERY_DATA", str(tmp_path))
    for run in demo_runs().values():
        assert len(run.datasets()["train"]) > 0
