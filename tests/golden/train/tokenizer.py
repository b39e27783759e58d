"""Trains the tokenizer of the demo model on the text that the model is trained on, and writes tokenizer.json.

Byte-level BPE as Qwen 3.5 has it: its pre-tokeniser (digits are single tokens), NFC, all 256 bytes, its added
tokens in its order and with its types behind the learnt pieces.  Merges are learnt with a narrower pattern,
in which letters join only letters: so a word has the same pieces whatever sign stands before it, and the
spelling curriculum knows them all.

Usage: tokenizer.py [--size 2048]; needs `tokenizers` from PyPI."""

import argparse
import json
import random
import string

from chat import render_task, text_of
from tasks import FAMILIES
from tasks.base import train_task
from tasks.pieces import FILE
from tasks.words import load_words

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NARROW = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTROL = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"
).split()
USER_DEFINED = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> "
    "<|file_sep|> <tool_response> </tool_response> <think> </think>"
).split()
SAMPLES, WORD_REPEATS, LETTER_REPEATS, LONGEST = 30000, 6, 2000, 12


def corpus(seed=1):
    """Conversations, as many of each family, without special tokens; each word of the list, each letter."""
    r = random.Random(seed)
    names = [name for name in FAMILIES if name not in ("pieces", "copy")]  # there are no pieces yet
    for i in range(SAMPLES):
        task = train_task(FAMILIES[r.choice(names)].make, r)
        text = text_of(render_task(task, i % 2 == 0))
        for special in CONTROL + USER_DEFINED:
            text = text.replace(special, "\n")
        yield text
    for word in load_words():
        yield f" {word}" * WORD_REPEATS
        yield f"\n{word}" * WORD_REPEATS
    for letter in string.ascii_lowercase:
        yield f" {letter}" * LETTER_REPEATS


def train(size):
    """A Tokenizer of `size` tokens, the added ones included."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )

    def splitter(pattern):
        return pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])  # fmt: skip

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = splitter(NARROW)
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(CONTROL) - len(USER_DEFINED), show_progress=False, max_token_length=LONGEST,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.pre_tokenizer = splitter(PATTERN)
    for tokens, special in ((CONTROL, True), (USER_DEFINED, False)):
        tokenizer.add_tokens([AddedToken(t, special=special, normalized=False) for t in tokens])
    return tokenizer


def load():
    """The committed tokenizer."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(FILE))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=2048, help="tokens in all (default 2048)")
    size = parser.parse_args().size
    FILE.unlink(missing_ok=True)  # the pieces shown in the corpus must not come from an older one
    tokenizer = train(size)
    text = json.loads(tokenizer.to_str())
    FILE.write_text(json.dumps(text, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{FILE.name}: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
