"""Secrets of the environment are replaced by where they come from."""

import logging

import pytest

from gmpo.cli.command import one_clear_error
from gmpo.cli.console import configure_logging
from gmpo.run.secrets import redact

SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef",
    "HF_TOKEN": "hf_abcdefgh",
    "DB_PASSWORD": "correct horse",
    "AWS_SECRET_ACCESS_KEY": "AKIAxyz/+xyz",
    "KEYBOARD": "not a secret",
    "TOKENIZERS_PARALLELISM": "parallel",
    "MY_KEY": "short",
}


def test_values_of_variables_that_are_named_like_secrets() -> None:
    text = " ".join(SECRETS.values())
    expected = (
        "${oc.env:WANDB_API_KEY} ${oc.env:HF_TOKEN} ${oc.env:DB_PASSWORD} ${oc.env:AWS_SECRET_ACCESS_KEY} "
        "not a secret parallel short"
    )
    assert redact(text, SECRETS) == expected


def test_errors_and_messages_hold_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRETS["HF_TOKEN"])
    with pytest.raises(SystemExit) as error, one_clear_error():
        raise ValueError(f"cannot read https://user:{SECRETS['HF_TOKEN']}@hub/model")
    assert str(error.value) == "error: cannot read https://user:${oc.env:HF_TOKEN}@hub/model"
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        configure_logging()
        logging.getLogger("gmpo.anything").warning("sent %s", SECRETS["HF_TOKEN"])
    finally:
        root.handlers = handlers
    assert capsys.readouterr().err == "sent ${oc.env:HF_TOKEN}\n"
