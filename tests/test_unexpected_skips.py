from pathlib import Path

import pytest
from unexpected_skips import OPTION

PRELUDE = "import pytest\n"


def run(folder: Path, text: str, *options: str) -> int:
    """A session of its own over one file."""
    file = folder / f"test_{folder.name}.py"  # a name is imported once
    file.write_text(PRELUDE + text)
    alone = (
        "-q",
        "--import-mode=importlib",
        "-p",
        "unexpected_skips",
        "-p",
        "no:cacheprovider",
        f"--rootdir={folder}",
        "-c",
        "/dev/null",
    )
    return pytest.main([str(file), *alone, *options])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("def test_a(): pytest.skip('the files are not here')", 1),
        ("@pytest.mark.skipif(True, reason='vLLM is not installed')\ndef test_a(): ...", 1),
        ("pytest.importorskip('no_module_of_this_name')", 1),
        ("@pytest.mark.parametrize('nothing', [])\ndef test_a(nothing): ...", 1),
        ("@pytest.mark.skipif(True, reason='no GPU')\ndef test_a(): ...", 0),
        ("@pytest.mark.xfail\ndef test_a(): assert False", 0),
        ("def test_a(): ...", 0),
    ],
)
def test_a_skip_for_another_reason_fails_the_session(tmp_path: Path, text: str, code: int) -> None:
    assert run(tmp_path, text, OPTION) == code


def test_without_the_option_a_skip_is_a_skip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "def test_a(): pytest.skip('the files are not here')") == 0
    assert "1 skipped" in capsys.readouterr().out
