"""Where the models are that csgate ships: inside the package when installed, beside ``src/`` in a checkout."""

from pathlib import Path

from csgate.errors import ModelError


def models_dir() -> Path:
    """The folder of the shipped models.

    Raises:
        ModelError: this installation has none.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_models", package.parent.parent / "models"):
        if folder.is_dir():
            return folder
    raise ModelError(
        "This installation of csgate has no models in it; reinstall it from a wheel or a checkout, "
        "or name a folder with --models-dir."
    )
