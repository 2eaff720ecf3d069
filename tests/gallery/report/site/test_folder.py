"""The folder of a site is replaced as a whole, and other files in it are refused."""

import pytest

from gallery.cli.main import main
from gallery.errors import RunError
from gallery.report.site.folder import replaced


def test_the_folder_is_replaced_whole_or_not_at_all(tmp_path):
    out = tmp_path / "site"
    for content in (("a.html", "b/c.png"), ("a.html", "d/e.png")):
        with replaced(out) as stage:
            for name in content:
                (stage / name).parent.mkdir(exist_ok=True)
                (stage / name).write_text(name)
    assert {p.relative_to(out).as_posix() for p in out.rglob("*")} == {"a.html", "d", "d/e.png", "contents.txt"}
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(FileNotFoundError), replaced(out) as stage:
        (stage / "a.html").rename(stage / "b.html")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize("name", ["notes.txt", "pictures/mine.png"])
def test_files_of_others_are_refused(tmp_path, name, capsys):
    out = tmp_path / "site"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    assert main(["site", "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert name in message
    assert [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()] == [name]


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pictures").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "site" / "contents.txt").write_text("pictures\n")
    with pytest.raises(RunError, match="pictures"), replaced(tmp_path / "site"):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []
