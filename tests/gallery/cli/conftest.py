import pytest

from gallery.cli.main import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every command runs in an empty folder, with no data set but the embedded ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GALLERY_DATA", str(tmp_path / "data"))


@pytest.fixture
def no_figures(monkeypatch):
    """Runs draw no figures."""
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])


@pytest.fixture
def run(capsys):
    """Return a function that runs a command: (exit code, output, error output)."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        if "--debug" not in arguments:
            assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture
def refused(run, tmp_path):
    """Return a function of (arguments, words): exit code 2, one line with these words, and no folder of a run."""

    def refused(arguments, *words):
        code, _, err = run(*(arguments.split() if isinstance(arguments, str) else arguments))
        assert code == 2
        assert err.count("\n") == 1, err
        assert err.startswith("gallery: ")
        for word in words:
            assert word in err
        assert not (tmp_path / "run").exists()
        assert not (tmp_path / "runs").exists()

    return refused
