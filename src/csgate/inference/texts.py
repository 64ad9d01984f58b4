"""Text to token ids: a Hugging Face ``tokenizers`` file, truncated, and padded to the shortest length that fits."""

from bisect import bisect_left
from typing import Final

from tokenizers import Tokenizer

from csgate.errors import ModelError
from csgate.inference.manifest import TokenizerEntry


class TextEncoder:
    """Safe from any thread: truncation is set once, and encoding changes nothing."""

    def __init__(self, content: bytes, entry: TokenizerEntry, model: str) -> None:
        """``content``: a ``tokenizer.json``.

        Raises:
            ModelError: it is not one.
        """
        try:
            self._tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:
            raise ModelError(f"Model '{model}': {entry.file} is no tokenizers file ({error}).") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(entry.max_tokens)
        self.lengths: Final = entry.lengths
        self.pad_id: Final = entry.pad_id

    def encode(self, text: str) -> list[int]:
        """Token ids, at least one and at most ``max_tokens``; nothing to encode gives the padding id."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids or [self.pad_id]

    def length(self, longest: int) -> int:
        """The padded length for a batch whose longest text has ``longest`` tokens."""
        return self.lengths[bisect_left(self.lengths, longest)]
