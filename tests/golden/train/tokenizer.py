"""Trains the tokenizer of the demo model on the text that the model is trained on, and writes tokenizer.json.

Byte-level BPE as Qwen 3.5 has it: its pre-tokeniser (digits are single tokens), NFC, all 256 bytes, its added tokens
in its order and with its types behind the learnt pieces.  Two things are done for a model that is too small to learn
them: merges join letters only with letters, so a word has the same pieces whatever sign stands before it; and a blank
joins a word last of all, if its first piece is frequent.  So " Anna" and "Anna" differ in one token at most, which is
what copying a value from a text into JSON needs, and the spelling curriculum knows every piece.

Usage: tokenizer.py [--size 2048]; needs `tokenizers` from PyPI.
"""

import argparse
import json
import random
import re
import string
from collections import Counter

from chat import render_task, text_of
from tasks import FAMILIES
from tasks.base import train_task
from tasks.pieces import FILE, SPACE
from tasks.words import load_words

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NARROW = r"\p{L}+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTROL = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"
).split()
USER_DEFINED = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> "
    "<|file_sep|> <tool_response> </tool_response> <think> </think>"
).split()
SAMPLES, WORD_REPEATS, LETTER_REPEATS, LONGEST = 30000, 6, 2000, 12
BLANKS = 500  # pieces that also exist with a blank before them


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


def make_tokenizer(model, pattern):
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    return tokenizer


def frequent_starts(tokenizer):
    """The pieces that most often follow a blank, and every letter."""
    words = Counter(word for text in corpus() for word in re.findall(r" ([A-Za-z]+)", text))
    starts = Counter()
    for word, n in words.items():
        starts[tokenizer.encode(word).tokens[0]] += n
    letters = list(string.ascii_lowercase)
    return letters + [p for p, _ in starts.most_common() if p not in letters][: BLANKS - len(letters)]


def train(size):
    """A Tokenizer of `size` tokens, the added ones included."""
    from tokenizers import AddedToken, models, pre_tokenizers, trainers

    first = make_tokenizer(models.BPE(), NARROW)
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(CONTROL) - len(USER_DEFINED) - BLANKS,
        show_progress=False,
        max_token_length=LONGEST,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    first.train_from_iterator(corpus(), trainer)
    learnt = json.loads(first.to_str())["model"]
    vocab, merges = learnt["vocab"], [tuple(merge) for merge in learnt["merges"]]
    for piece in frequent_starts(first):
        vocab[SPACE + piece] = len(vocab)
        merges.append((SPACE, piece))
    tokenizer = make_tokenizer(models.BPE(vocab=vocab, merges=merges), PATTERN)
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
