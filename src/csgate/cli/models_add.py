"""``csgate models add``: a CLIP-type model, from a folder or a model hub, as a tagger that csgate serves."""

import argparse
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from csgate import shipped
from csgate.errors import ConfigError

HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
HUB_FILES: Final = (
    "*.json",
    "vision_model*.onnx",
    "text_model*.onnx",
    "onnx/vision_model*.onnx",
    "onnx/text_model*.onnx",
)
TAGS: Final = "stickers"

_DESCRIPTION: Final = """\
Takes a vision encoder, a text encoder and their tokenizer in the layout of Hugging Face's ONNX exports
(vision_model.onnx, text_model.onnx, tokenizer.json, preprocessor_config.json) and writes them, with a manifest,
as a folder that 'csgate serve --models-dir DIR' serves as its tagger. Labels are words in any language that the text
encoder knows; they are embedded once, at the first start.
"""


def add_action(actions: Any) -> None:
    """Declares ``models add``."""
    action = actions.add_parser(
        "add",
        help="add a CLIP-type model: a folder, or the id of one on the hub",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    action.add_argument("source", metavar="SOURCE", help="the folder, or an id such as Xenova/clip-vit-base-patch32")
    action.add_argument("--models-dir", type=Path, required=True, metavar="DIR", help="where its folder is made")
    action.add_argument("--name", help="the new folder's name (default: after SOURCE)")
    action.add_argument(
        "--labels", type=Path, metavar="FILE", help='JSON with lists "names", "en", "zh" (default: the shipped tags)'
    )
    action.add_argument(
        "--embed", choices=("en", "zh", "names"), default="en", help="the list whose words are embedded (default en)"
    )
    action.add_argument("--prompt", default="a photo of a {}", help="what a label is put into (default '%(default)s')")
    action.add_argument("--scale", type=float, default=100.0, help="factor on the cosine (default %(default)s)")
    action.add_argument("--licence", default="unknown", help="the model's licence, for the manifest")
    action.add_argument(
        "--alone", action="store_true", help="do not copy the shipped text models to DIR where it has none"
    )
    action.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Adds the model and says what to do next.

    Raises:
        ConfigError: the source cannot be found, fetched or used (ModelError for the last).
    """
    from csgate.inference.clip_folder import ClipChoices, add_clip
    from csgate.inference.inspect import check_model

    root: Path = arguments.models_dir
    labels = arguments.labels or shipped.models_dir() / TAGS / "labels.json"
    choices = ClipChoices(
        name=arguments.name or _name(arguments.source),
        labels=labels,
        licence=arguments.licence,
        embedded=arguments.embed,
        prompt=arguments.prompt,
        scale=arguments.scale,
    )
    with _folder(arguments.source) as source:
        made = add_clip(source, root, choices)
    try:
        row = check_model(made)
    except ConfigError:
        shutil.rmtree(made, ignore_errors=True)
        raise
    print(f"Added {made}: {row.labels} labels, {' and '.join(row.precisions)}.")
    _report(root, made.name, arguments.alone)
    print(f"Serve it with: csgate serve --models-dir {root}")
    return 0


def _name(source: str) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", Path(source).name.lower()).strip("-._")
    return name or "clip"


@contextmanager
def _folder(source: str) -> Iterator[Path]:
    """The folder that ``source`` names, or one fetched from the hub for as long as the block lasts."""
    path = Path(source)
    if path.is_dir():
        yield path
        return
    if not HUB_ID.fullmatch(source):
        raise ConfigError(f"There is no folder {source}; name one, or an id on the hub such as owner/model.")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ConfigError(
            f"There is no folder {source}. To fetch it from the hub: pip install 'csgate[hub]', and run this again."
        ) from error
    with tempfile.TemporaryDirectory() as place:
        try:
            snapshot_download(source, local_dir=place, allow_patterns=list(HUB_FILES))
        except Exception as error:  # the hub's client raises errors of several libraries
            raise ConfigError(f"Cannot fetch {source} from the hub: {_words(error)}.") from error
        yield Path(place)


def _words(error: Exception) -> str:
    """The first line of what ``error`` says; its kind where it says nothing, as timeouts do."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _report(root: Path, name: str, alone: bool) -> None:
    """Puts the shipped text models beside the new tagger, and tells of other taggers there."""
    from csgate.inference.repository import load_model, model_folders

    tasks = {folder.name: load_model(folder).manifest.task for folder in model_folders(root)}
    for other in [other for other, task in tasks.items() if task == "tagger" and other != name]:
        print(f"Note: {root / other} is a tagger as well, and csgate serves one; move one of them elsewhere.")
    if alone:
        return
    for folder in model_folders(shipped.models_dir()):
        task = load_model(folder).manifest.task
        # The shipped fusion model knows the shipped tagger's features only.
        if task in ("intent", "sentiment") and task not in tasks.values():
            shutil.copytree(folder, root / folder.name)
            print(f"Copied the shipped {folder.name} for the task '{task}'.")
