"""What a caller gets: records of the service, events of a stream, answers."""

from .messages import ENUMS
from .wire import CLASSES

_ZERO = {"string": "", "bytes": b"", "bool": False, "float": 0.0, "double": 0.0}
# Names that only this side needs: what the numbers of an enum are called in Python.
_NAMES = {kind: {number: name.lower()[len(kind) + 1:] if name.startswith(kind.upper() + "_") else name.lower()
                 for name, number in values.items()} for kind, values in ENUMS.items()}


def enum_number(kind, name):
    """The number of an enum's value by its name in Python, None: it has no such value."""
    return next((number for number, known in _NAMES[kind].items() if known == name), None)


class Record:
    """A message to look at: absent numbers are 0, absent text is "", enums are names ("serving"), ids are hexadecimal.

    .asdict() is the same as plain dicts and lists."""

    def __init__(self, message):
        for field in message.FIELDS:
            value = getattr(message, field.name)
            setattr(self, field.name, [_plain(field, one) for one in value] if field.repeated else _plain(field, value))

    def asdict(self):
        return {name: _as_data(value) for name, value in vars(self).items()}

    def __repr__(self):
        return f"Record({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __eq__(self, other):
        return isinstance(other, Record) and vars(self) == vars(other)

    __hash__ = None


def _as_data(value):
    if isinstance(value, list):
        return [_as_data(one) for one in value]
    return value.asdict() if isinstance(value, Record) else value


def _plain(field, value):
    if field.kind in ENUMS:
        return "unknown" if value is None else _NAMES[field.kind][value]
    if field.kind in CLASSES:
        return Record(CLASSES[field.kind]() if value is None else value)
    if value is None:
        value = _ZERO.get(field.kind, 0)
    return value.hex() if field.kind == "bytes" and field.name != "text" else value


class Event:
    """What happened on a stream.  .type says what else there is:

    queued      position (requests that start before this one), loading, load_permille
    started     prompt_tokens, cached_tokens
    read        read_tokens of prompt_tokens are read, about once a second while a long prompt is
    reasoning, answer, tool_call
                text; ids with want_ids; logprobs with logprobs: records of id, logprob, text (bytes), top
    restart     the engine died; the stream goes on
    resumed     from_token: nothing is sent again, nothing left out
    preempted   a batch request gave its slot to an interactive one; the stream goes on
    end         usage
    sample      sample: of subscribe() only"""

    def __init__(self, type, **values):
        self.type, self.text = type, ""
        self.__dict__.update(values)

    def __repr__(self):     # without text: a log of events is no log of answers
        return f"<Event {self.type}: {', '.join(sorted(set(vars(self)) - {'type'}))}>"


class Answer(str):
    """The text of an answer, with .reasoning, .tool_calls (its text, as the model wrote it), .usage and .request_id."""

    reasoning = tool_calls = request_id = ""
    usage = None

    @classmethod
    def of(cls, parts, usage, request_id):
        answer = cls("".join(parts["answer"]))
        answer.reasoning, answer.tool_calls = "".join(parts["reasoning"]), "".join(parts["tool_call"])
        answer.usage, answer.request_id = usage, request_id
        return answer


class Gathering:
    """Events become an Answer."""

    def __init__(self):
        self.parts, self.usage = {"reasoning": [], "answer": [], "tool_call": []}, None

    def add(self, event):
        if event.type in self.parts:
            self.parts[event.type].append(event.text)
        elif event.type == "end":
            self.usage = event.usage

    def answer(self, request_id):
        return Answer.of(self.parts, self.usage, request_id)
