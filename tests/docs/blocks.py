"""blocks.py - the code blocks of a Markdown file of ours: fenced ones with their language, indented ones without."""
import dataclasses
import re


@dataclasses.dataclass
class Block:
    path: str
    line: int           # of its first line, from 1
    language: str       # of the fence; "" without a word there; "indented"
    lines: list

    def __str__(self):
        return f"{self.path}:{self.line}"


def of(path, name):
    """An indented block begins behind an empty line or a heading, as it would be part of the paragraph elsewhere."""
    with open(path, encoding="utf-8") as f:
        text = f.read().splitlines()
    blocks, block, fenced = [], None, False
    for i, line in enumerate(text):
        if line.startswith("```"):
            block = None if fenced else Block(name, i + 2, line[3:].strip(), [])
            fenced = not fenced
            if block:
                blocks.append(block)
        elif fenced:
            block.lines.append(line)
        elif block and (line.startswith("    ") or not line.strip()):
            block.lines.append(line[4:])
        elif line.startswith("    ") and (i == 0 or not text[i - 1].strip() or text[i - 1].startswith("#")):
            block = Block(name, i + 1, "indented", [line[4:]])
            blocks.append(block)
        else:
            block = None
    assert not fenced, f"{name}: a fence is not closed"
    for block in blocks:
        while block.lines and not block.lines[-1].strip():
            block.lines.pop()
    return blocks


def commands(block):
    """Its lines to be run: of a session those behind a prompt, else all; a comment at the end is none."""
    lines = [line for line in block.lines if line.strip()]
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [re.sub(r"\s{2,}# .*$", "", line) for line in lines]
