import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from gmpo.run import folder as run_folder


def test_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = run_folder.create(str(tmp_path / "a" / "b"), "first")
    assert folder == tmp_path / "a" / "b" / "first"
    assert [path.name for path in folder.iterdir()] == [".lock"]
    run_folder.leave(folder)
    assert not folder.exists(), "nothing is left of a run that never began"


def test_next_free_name(tmp_path: Path) -> None:
    folders = []
    for _ in range(3):
        folders.append(run_folder.create(str(tmp_path), "try"))
        (folders[-1] / "metrics.csv").write_text("left by a run")
    assert [folder.name for folder in folders] == ["try", "try-2", "try-3"]
    assert all((folder / "metrics.csv").read_text() == "left by a run" for folder in folders)


def test_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "try").mkdir()
    assert run_folder.create(str(tmp_path), "try") == tmp_path / "try"


def test_file_of_that_name_is_left(tmp_path: Path) -> None:
    (tmp_path / "try").write_text("kept")
    assert run_folder.create(str(tmp_path), "try") == tmp_path / "try-2"
    assert (tmp_path / "try").read_text() == "kept"


@pytest.mark.parametrize("name", ["", ".", "..", "../outside", "a/b", "/absolute", "a\\b", "a\0b"])
def test_names_that_are_not_one_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"run\.name=.*run\.root") as error:
        run_folder.create(str(tmp_path), name)
    assert repr(name) in str(error.value)
    assert not any(tmp_path.iterdir())


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot be written \(Not a directory\).*run\.root") as error:
        run_folder.create(str(tmp_path / "file"), "try")
    assert str(tmp_path / "file" / "try") in str(error.value)


def test_name_that_the_disk_refuses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be written \(File name too long\)"):
        run_folder.create(str(tmp_path), "a" * 300)


def test_a_folder_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "LOCK_PATIENCE", 1.0)
    code = "import sys, time; from gmpo.run import folder as r; from pathlib import Path; r.claim(Path(sys.argv[1]))"
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}; print(flush=True); time.sleep(60)", str(tmp_path / "a")],
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ValueError, match=rf"is being written to by process {other.pid} on .*run\.name"):
            run_folder.claim(tmp_path / "a")
        other.kill()
    run_folder.leave(run_folder.claim(tmp_path / "a"))


def test_secrets_of_the_environment_stay_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "abcdef0123456789")
    monkeypatch.setenv("SOME_NUMBER", "not-named-as-one")
    cfg = OmegaConf.create({"logger": {"key": "${oc.env:SOME_API_KEY}", "other": "${oc.env:SOME_NUMBER}"}})
    run_folder.save_config(cfg, tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    assert "abcdef" not in text
    assert OmegaConf.load(tmp_path / "config.yaml").logger.key == "abcdef0123456789"


def test_saved_config_is_resolved(tmp_path: Path) -> None:
    cfg = OmegaConf.create({"run": {"name": "try", "steps": 3}, "trainer": {"steps": "${run.steps}"}})
    run_folder.save_config(cfg, tmp_path)
    assert "${" not in (tmp_path / "config.yaml").read_text()
    assert OmegaConf.load(tmp_path / "config.yaml") == OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
