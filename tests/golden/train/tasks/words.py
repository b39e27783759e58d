"""Numbers in words, and the list of words that the letter tasks use."""

from pathlib import Path

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
NAMES = (
    "Anna Ben Clara David Emma Felix Greta Henry Ida Jonas Karin Leo Maria Nina Oscar Paula Quentin Rosa "
    "Simon Tara Ulla Victor Wanda Yusuf Zoe Amir Bella Carlos Dora Elias Fatima Georg Hanna Ivan Julia Kenji "
    "Lena Milan Nora Omar"
).split()
THINGS = (
    "apples books coins pens cards eggs stamps bottles stones marbles tickets cookies shells nails boxes keys"
).split()


def in_words(n):
    """345 -> "three hundred forty-five"; n below 1000."""
    if n >= 100:
        rest = n % 100
        return f"{ONES[n // 100]} hundred" + (f" {in_words(rest)}" if rest else "")
    if n < 20:
        return ONES[n]
    return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")


def load_words():
    """The words of words.txt: lower-case ASCII letters, no word twice."""
    return sorted(set((Path(__file__).parent.parent / "words.txt").read_text(encoding="ascii").split()))
