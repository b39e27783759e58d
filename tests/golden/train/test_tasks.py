"""The training tasks are right, and what is held out is held out.

Every answer is computed again from the text of the question alone, by other means than the generator's; every
line of arithmetic in a thinking is checked.  Standard library only.  Run: python3 test_tasks.py"""

import datetime
import json
import random
import re
import unittest
from collections import Counter
from fractions import Fraction

import chat
import facts
import suites
from tasks import FAMILIES, PHASES
from tasks.base import is_held, train_task
from tasks.letters import made_up
from tasks.pieces import letter_pieces, split
from tasks.words import ONES, TENS, load_words

SAMPLES = 1500  # a family
TRAINED = 200_000  # questions looked through for held-out ones
WORDS_OF_NUMBERS = {w: i for i, w in enumerate(ONES)} | {w: 10 * i for i, w in enumerate(TENS) if i > 1}
NUMBER_WORDS = re.compile(
    r"\b((?:(?:{0})(?: hundred)?(?:[ -](?={0}))?)+)\b".format(
        "|".join(sorted(WORDS_OF_NUMBERS, key=len, reverse=True))
    )
)
EQUATION = re.compile(r"^(\d+(?:[-+*/]\d+){1,2})=(\d+)(?: (b|r)(\d+))?$")


def question_of(task):
    return task.messages[-1]["content"]


def value_of(words):
    """The number that is written as "three hundred forty-five"."""
    total = 0
    for word in re.split(r"[ -]", words):
        total = total * 100 if word == "hundred" else total + WORDS_OF_NUMBERS[word]
    return total


def numbers_in(text):
    """Numbers in digits or words, in their order; "One of the apples" is none."""
    text = text.replace("One of the", "").replace("in one box", "")
    text = NUMBER_WORDS.sub(lambda m: str(value_of(m.group(1))), text)
    return [int(n) for n in re.findall(r"\d+", text)]


def check_equations(case, thinking):
    """Each line "a+b+c=d", "a-b-c=d b1" or "a/b=q r1" of a thinking holds.  Returns how many there were."""
    n = 0
    for line in thinking.split("\n"):
        m = EQUATION.match(line)
        if not m:
            continue
        left, right, kind, extra = m.groups()
        terms = re.findall(r"[-+*/]|\d+", left)
        value = int(terms[0])
        for op, term in zip(terms[1::2], map(int, terms[2::2])):
            if op == "/":
                case.assertEqual(value, int(right) * term + int(extra or 0), line)
            value = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}[op](
                value, term
            )
        case.assertEqual(value + 10 * int(extra) if kind == "b" else value, int(right), line)
        n += 1
    return n


class Arithmetic(unittest.TestCase):
    def check(self, name, result):
        r = random.Random(f"test {name}")
        for _ in range(SAMPLES):
            task = FAMILIES[name].make(r)
            a, b = numbers_in(question_of(task))
            self.assertEqual(task.answer, str(result(question_of(task), a, b)), question_of(task))
            self.assertGreater(check_equations(self, task.think), 0, task.think)
            self.assertEqual(self.read_result(task.think), abs(int(task.answer)), task.think)

    def read_result(self, thinking):
        """The number that the last column lines spell from the units up, or the last "=…"."""
        lines = thinking.split("\n")
        if lines[-1].startswith("="):
            return int(lines[-1][1:])
        columns = []
        for line in reversed(lines):
            if not EQUATION.match(line):
                break
            columns.append(line.split("=")[1].split(" ")[0])
        return int(columns[0] + "".join(c[-1] for c in columns[1:]))

    def test_sums_are_right(self):
        self.check("add", lambda q, a, b: a + b)

    def test_differences_are_right(self):
        self.check("sub", lambda q, a, b: b - a if q.startswith(("Subtract", "Take")) else a - b)

    def test_products_are_right(self):
        self.check("mul", lambda q, a, b: a * b)
        self.check("mul3x2", lambda q, a, b: a * b)


class Order(unittest.TestCase):
    def test_lists_are_sorted(self):
        r = random.Random("test sort")
        for _ in range(SAMPLES):
            task = FAMILIES["sort"].make(r)
            down = re.search("descending|largest first|largest to|decreasing|greatest to", question_of(task))
            expected = sorted(numbers_in(question_of(task)), reverse=bool(down))
            self.assertEqual(task.answer, ", ".join(map(str, expected)), question_of(task))
            lines = task.think.split("\n")
            self.assertEqual([int(line.split(":")[0]) for line in lines[1:]], expected)
            for before, line in zip(lines, lines[1:]):
                taken = sorted(line.replace(":", "").split(" "))
                self.assertEqual(taken, sorted(before.split(": ")[-1].split(" ")), task.think)

    def test_comparisons_are_right(self):
        r = random.Random("test compare")
        for _ in range(SAMPLES):
            task = FAMILIES["compare"].make(r)
            question, values = question_of(task), numbers_in(question_of(task))
            least = re.search("smaller|smallest|less|least|minimum", question)
            if re.match(r"Is \d+ (greater|larger|more|less|smaller) than", question):
                expected = "Yes" if (values[0] < values[1] if least else values[0] > values[1]) else "No"
            else:
                expected = str(min(values) if least else max(values))
            self.assertEqual(task.answer, expected, question)


class Dates(unittest.TestCase):
    YEAR = 2023  # a year of 365 days whose 2nd of January is a Monday

    def expected(self, question):
        """The answer by the calendar of the standard library."""
        span = -1 if re.search("before|ago", question) else 1
        clock = re.search(r"(\d\d):(\d\d)", question)
        dates = [datetime.datetime.strptime(f"{self.YEAR} {a or d} {b or c}", "%Y %d %B") for a, b, c, d in
                 re.findall(r"(\d+) ([A-Z][a-z]+)|([A-Z][a-z]+) (\d+)", re.sub(r"\d+ (days|minutes)", "",
                                                                               question))
                 if (b or c) in facts_of_months()]  # fmt: skip
        if clock:
            n = int(re.search(r"(\d+) minutes", question).group(1))
            time = datetime.datetime(self.YEAR, 6, 1, *map(int, clock.groups())) + span * datetime.timedelta(
                minutes=n
            )
            return f"{time:%H:%M}"
        if len(dates) == 2:
            return f"{(dates[1] - dates[0]).days % 365} days"
        if not dates and not re.search(r"\d", question):
            month = next(i for i, m in enumerate(facts_of_months()) if m in question)
            after = datetime.date(self.YEAR + month // 11, (month + 1) % 12 + 1, 1)
            return f"{(after - datetime.timedelta(1)).day} days"
        n = int(re.search(r"(\d+) days", question).group(1))
        if dates:
            day = dates[0] + span * datetime.timedelta(days=n)
            return f"{day.day} {day:%B}"
        start = next(i for i in range(7) if f"{datetime.date(self.YEAR, 1, 2 + i):%A}" in question)
        return f"{datetime.date(self.YEAR, 1, 2 + start) + span * datetime.timedelta(n):%A}"

    def test_answers_are_those_of_the_calendar(self):
        r = random.Random("test dates")
        for _ in range(SAMPLES):
            task = FAMILIES["dates"].make(r)
            self.assertEqual(task.answer, self.expected(question_of(task)), question_of(task))
            thinking = task.think.replace("23+1=00", "23+1=24").replace("00-1=23", "24-1=23")
            check_equations(self, thinking)


def facts_of_months():
    return [f"{datetime.date(2023, m, 1):%B}" for m in range(1, 13)]


# in the smallest unit of its kind: millimetres, grams, millilitres, cents, milliseconds, inches, months
SIZES = {
    "kilometers": 10**6, "km": 10**6, "meters": 1000, "m": 1000, "centimeters": 10, "cm": 10,
    "millimeters": 1, "mm": 1, "tonnes": 10**6, "t": 10**6, "kilograms": 1000, "kg": 1000, "grams": 1, "g": 1,
    "liters": 1000, "l": 1000, "milliliters": 1, "ml": 1, "dollars": 100, "euros": 100, "cents": 1,
    "weeks": 604800000, "days": 86400000, "hours": 3600000, "h": 3600000, "minutes": 60000, "min": 60000,
    "seconds": 1000, "s": 1000, "milliseconds": 1, "ms": 1, "feet": 12, "inches": 1, "years": 12, "months": 1,
}  # fmt: skip


class Units(unittest.TestCase):
    def test_conversions_are_right(self):
        r = random.Random("test units")
        for _ in range(SAMPLES):
            task = FAMILIES["units"].make(r)
            (n,), words = numbers_in(question_of(task)), re.findall(r"[a-z]+", question_of(task))
            have = re.search(r"\d+ ([a-z]+)", question_of(task)).group(1)
            (want,) = [w for w in words if w in SIZES and w != have]
            self.assertEqual(task.want, Fraction(n * SIZES[have], SIZES[want]), question_of(task))
            self.assertEqual(task.answer.split(" ")[0], str(task.want))
            check_equations(self, task.think)


class Letters(unittest.TestCase):
    def word_of(self, task):
        """The word of the question, which is the key."""
        word = task.keys[0].split(" ")[1]
        self.assertRegex(question_of(task), rf"(?<![a-z]){word}(?![a-z])")
        return word

    def test_counts_are_right_and_balanced(self):
        r, answers = random.Random("test count"), Counter()
        for _ in range(2 * SAMPLES):
            task = FAMILIES["count"].make(r)
            word, letter = self.word_of(task), task.think[0]
            self.assertRegex(question_of(task), rf"(?<![a-z]){letter}(?![a-z])")
            self.assertEqual(task.answer, str(sum(c == letter for c in word)), question_of(task))
            self.assertEqual("".join(re.findall(r"([a-z])\d", task.think)), word)
            answers[task.answer] += 1
        self.assertEqual(set(answers), set("01234"))
        for answer, n in answers.items():
            self.assertAlmostEqual(n / (2 * SAMPLES), 0.2, delta=0.04, msg=answer)

    def test_reversals_are_right(self):
        r = random.Random("test reverse")
        for _ in range(SAMPLES):
            task = FAMILIES["reverse"].make(r)
            word = self.word_of(task)
            self.assertEqual(list(task.answer), list(reversed(word)), question_of(task))
            self.assertTrue(
                task.think.endswith("".join(f"{i + 1}{c}" for i, c in reversed(list(enumerate(word)))))
            )

    def test_spellings_are_right(self):
        r = random.Random("test spell")
        for _ in range(SAMPLES):
            task = FAMILIES["spell"].make(r)
            self.assertEqual(task.answer.replace(" ", ""), self.word_of(task), question_of(task))
        for _ in range(SAMPLES):
            task = FAMILIES["pieces"].make(r)
            for asked, line in zip(question_of(task).split("\n")[1:], task.answer.split("\n")):
                piece, letters = line.split(": ")
                self.assertEqual((piece, letters.replace(" ", "")), (asked, asked.strip()))

    def test_every_piece_of_the_vocabulary_is_one_piece(self):
        self.assertGreater(len(letter_pieces()), 1000)
        for piece in letter_pieces():
            self.assertEqual(split(piece), (piece,))
        for word in load_words() + [made_up(random.Random(i)) for i in range(100)]:
            self.assertEqual("".join(split(" " + word)), " " + word)


class Qwend(unittest.TestCase):
    def test_answers_hold_what_the_suite_asks_for(self):
        r = random.Random("test facts")
        for name in ("facts", "self", "outside"):
            for _ in range(SAMPLES):
                task = FAMILIES[name].make(r)
                for alternatives in task.want["all"]:
                    self.assertTrue(any(a.lower() in task.answer.lower() for a in alternatives), task)
                self.assertEqual("do not know" in task.answer, name == "outside", task)

    def test_facts_can_be_read_from_the_sources(self):
        """What a document says may change at any time; the model knows what it was trained on.  So a change is told,
        and only sources that cannot be read at all are a fault."""
        (found, faults), kept = facts.collect(), json.loads(facts.FILE.read_text(encoding="utf-8"))
        self.assertEqual(len({(f["kind"], f["name"]) for f in kept}), len(kept))
        self.assertGreater(len(found), len(kept) / 2, faults)
        changed = [f["answer"] for f in found if f not in kept]
        if changed or faults:
            print(f"facts.json is older than its sources: {len(changed)} new answers; {'; '.join(faults)}")

    def test_options_are_those_of_the_table(self):
        known = {f["name"] for f in facts.option_facts() if f["kind"] == "option"}
        table = facts.read("client/qwenctl/opt_table.c")
        self.assertEqual(known, {f"--{n}" for n in re.findall(r'^    \{"([a-z0-9-]+)", ', table, re.M)})
        self.assertGreater(len(known), 30)


class Copying(unittest.TestCase):
    def test_extracted_values_stand_in_the_text(self):
        r = random.Random("test extract")
        for _ in range(SAMPLES):
            task = FAMILIES["extract"].make(r)
            self.assertEqual(json.loads(task.answer), task.want)
            for name, value in task.want.items():
                self.assertIn(name, question_of(task))
                self.assertIn(str(value), question_of(task))

    def test_calls_match_the_given_tools(self):
        r = random.Random("test tools")
        for name in ("tools", "chain"):
            for _ in range(SAMPLES):
                task = FAMILIES[name].make(r)
                schemas = {t["function"]["name"]: t["function"]["parameters"] for t in task.tools}
                self.assertEqual(len(schemas), 2)
                for turn in task.turns or ():
                    for call in turn.get("tool_calls", ()):
                        self.check_call(call["function"], schemas, question_of(task))

    def check_call(self, call, schemas, question):
        self.assertEqual(list(call["arguments"]), schemas[call["name"]]["required"])
        for name, value in call["arguments"].items():
            self.assertIn(str(value), question)
            kind = schemas[call["name"]]["properties"][name]["type"]
            self.assertIsInstance(value, {"string": str, "integer": int}[kind])


class FollowUps(unittest.TestCase):
    """Those whose answer can be computed from the conversation alone; the others reuse a family that is
    tested above."""

    def expected(self, messages):
        first, said, asked = [m["content"] for m in messages]
        if m := re.match(r"(?:And |Now )?(plus|minus|times|add|subtract|multiply it by) (\d+)", asked, re.I):
            a, b, op = int(said), int(m.group(2)), m.group(1).lower()
            return a + b if op in ("plus", "add") else a - b if op in ("minus", "subtract") else a * b
        if "largest" in asked or "maximum" in asked:
            return max(numbers_in(first))
        if "smallest" in asked or "minimum" in asked:
            return min(numbers_in(first))
        if asked.startswith("How many") and "number" in asked or asked == "How many are they?":
            return len(numbers_in(first))
        if said == "I see.":
            return "stands in " + first
        return None

    def test_answers_follow_from_the_conversation(self):
        r, checked = random.Random("test follow"), 0
        for _ in range(2 * SAMPLES):
            task = FAMILIES["follow"].make(r)
            self.assertEqual([m["role"] for m in task.messages], ["user", "assistant", "user"])
            expected = self.expected(task.messages)
            if expected is None:
                continue
            checked += 1
            if str(expected).startswith("stands in "):
                self.assertIn(task.answer, expected)
            else:
                self.assertEqual(task.answer, str(expected), task.messages)
        self.assertGreater(checked, SAMPLES)


class HeldOut(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.suites = {}
        for path in sorted(suites.FOLDER.glob("*.jsonl")):
            cls.suites[path.stem] = [
                json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
            ]

    def test_suites_are_what_the_sources_make(self):
        for name, items in suites.make_suites().items():
            self.assertEqual(
                (suites.FOLDER / f"{name}.jsonl").read_text(encoding="utf-8"), suites.text_of(items), name
            )

    def test_no_held_out_question_is_trained(self):
        asked = {json.dumps([i["messages"], i.get("tools")]) for items in self.suites.values() for i in items}
        words = {
            i["messages"][0]["content"].split('"')[1]
            for i in self.suites["reverse"]
            if '"' in i["messages"][0]["content"]
        }
        self.assertGreater(len(asked), 6000)
        self.assertGreater(len(words), 50)
        r, shares = random.Random("test held out"), PHASES["main"]
        for name in r.choices(list(shares), shares.values(), k=TRAINED):
            task = train_task(FAMILIES[name].make, r)
            self.assertFalse(any(map(is_held, task.keys + task.context)), task.keys)
            messages = task.messages[task.messages[0]["role"] == "system" :]
            self.assertFalse(json.dumps([messages, task.tools]) in asked, messages)
            if name in ("count", "reverse", "spell"):
                self.assertFalse(words & set(re.findall("[a-z]+", messages[0]["content"])), messages)

    def test_answers_of_the_count_suite_are_balanced(self):
        self.assertEqual(Counter(i["answer"] for i in self.suites["count"]), dict.fromkeys(range(5), 100))

    def test_both_modes_have_the_same_answer(self):
        r = random.Random("test modes")
        for family in FAMILIES.values():
            task = train_task(family.make, r)
            direct, thinking = task.reply(False)[-1], task.reply(True)[-1]
            self.assertTrue(thinking["reasoning_content"])
            self.assertEqual(direct, {**thinking, "reasoning_content": ""})


class Rendering(unittest.TestCase):
    def test_conversations_are_as_the_template_renders_them(self):
        lines = (chat.HERE / "chat_cases.jsonl").read_text(encoding="utf-8").splitlines()
        self.assertEqual({json.loads(line)["family"] for line in lines}, set(FAMILIES))
        for case in map(json.loads, lines):
            self.assertEqual(chat.text_of(chat.render(case["messages"], case["tools"])), case["expected"])

    def test_only_the_reply_is_learnt(self):
        messages = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"},
                    {"role": "user", "content": "2+2"},
                    {"role": "assistant", "content": "4", "reasoning_content": "2+2=4"}]  # fmt: skip
        learnt = "".join(p.text for p in chat.render(messages) if p.learnt)
        self.assertEqual(learnt, "2+2=4\n</think>\n\n4<|im_end|>")
        messages[-1]["reasoning_content"] = ""
        self.assertEqual("".join(p.text for p in chat.render(messages) if p.learnt), "4<|im_end|>")


if __name__ == "__main__":
    unittest.main()
