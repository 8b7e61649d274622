"""A file is whole, or as it was."""

from pathlib import Path

import pytest

from gmpo.checkpoint.atomic import write_atomically


@pytest.mark.parametrize("to_disk", [False, True])
def test_an_error_leaves_the_file_as_it_was(tmp_path: Path, to_disk: bool) -> None:
    path = tmp_path / "metrics.csv"
    with write_atomically(path, to_disk) as file:
        file.write("whole\n")
        assert not path.exists()
    with pytest.raises(TypeError), write_atomically(path, to_disk) as file:
        file.writelines(["half", 1])  # type: ignore[list-item]
    assert path.read_bytes() == b"whole\n"
    with write_atomically(path, to_disk) as file:
        file.write("next\n")
    assert path.read_bytes() == b"next\n"
    assert list(tmp_path.iterdir()) == [path]
