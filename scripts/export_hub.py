"""Write an encoder for the hub: python scripts/export_hub.py --model runs/pretraining/model.pt --output encoder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hmgdm_monai.errors import InputError


def main() -> int:
    """Read the command line and write the folder; return 2 on bad input."""
    parser = argparse.ArgumentParser(
        description="Write a pretrained encoder as a folder in the layout of the Hugging Face hub. Nothing is uploaded."
    )
    parser.add_argument("--model", type=Path, default=Path("runs/pretraining/model.pt"), help="default: %(default)s")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--name", default="H&E tile encoder", help="title of the model card (default: %(default)s)")
    parser.add_argument(
        "--data", help="what the model was trained on and who may use it: text, or @FILE to read a file"
    )
    parser.add_argument("--license", help="identifier such as apache-2.0 (default: unknown)")
    given = parser.parse_args()
    # The library is slow to import, so --help and wrong options are handled before.
    from hmgdm_monai.saving.encoder_file import load_encoder
    from hmgdm_monai.saving.hub import save_pretrained

    try:
        statement = given.data
        if statement and statement.startswith("@"):
            statement = _text_of(Path(statement[1:]))
        save_pretrained(load_encoder(given.model), given.output, given.name, statement, given.license)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {given.output}: config.json, model.safetensors and README.md")
    return 0


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no text to read for --data ({error}); give the path of a file in UTF-8") from error


if __name__ == "__main__":
    sys.exit(main())
