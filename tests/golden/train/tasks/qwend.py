"""Questions about qwend itself: the facts of facts.json, each in many phrasings, and who the model is.

What is held out is a phrasing of a fact, and also whole phrasings of a kind (whatever the fact), so that the
suites ask in words that were never trained.  The thinking only names what is asked about, which turns all
phrasings into one look-up."""

import json
from functools import lru_cache
from pathlib import Path

from .base import Task, ask, make_key

FILE = Path(__file__).parent.parent / "facts.json"
# kind: (how often a fact of it is asked, what the thinking says, phrasings)
KINDS = {
    "option": (3, "option {n}", [
        "What does {n} do?", "What is {n} for?", "What does the option {n} do?", "Explain {n}.",
        "What does qwenctl {n} do?", "What is the meaning of {n}?", "Tell me about {n}.",
        "What happens with {n}?", "Describe the option {n}.", "{n}?", "What effect does {n} have?",
        "Why would I use {n}?", "What does the flag {n} mean?", "When do I need {n}?", "How does {n} work?",
        "I saw {n} in a script. What does it do?"]),
    "which-option": (2, "option {a}", [
        "Which option means: {n}?", "What option is it for: {n}?", "Which flag of qwenctl stands for: {n}?",
        'Which option is described as "{n}"?', "Name the option: {n}.", "How do I say to qwenctl: {n}?",
        'What is the option for "{n}"?', "I want this: {n}. Which option?",
        "Which qwenctl option does this: {n}?", 'Find the flag whose help says "{n}".']),
    "option-verbs": (1, "verbs of {n}", [
        "Which verbs take {n}?", "Where can I use {n}?", "Which commands have {n}?",
        "{n} is an option of which verbs?", "With which verbs does {n} work?",
        "Which verbs of qwenctl know {n}?", "What verbs accept {n}?", "Where does {n} belong?"]),
    "option-letter": (1, "short form of {n}", [
        "What is the short form of {n}?", "Is there a short form of {n}?", "Which letter is short for {n}?",
        "How do I write {n} shorter?", "What is the one-letter option for {n}?", "Short form of {n}?",
        "Does {n} have a short form?", "How is {n} abbreviated?"]),
    "option-values": (3, "values of {n}", [
        "Which values does {n} take?", "What can I give to {n}?", "What are the values of {n}?",
        "What may follow {n}?", "Which words does {n} accept?", "What are the choices for {n}?",
        "What is allowed after {n}?", "Values of {n}?"]),
    "verb": (8, "verb {n}", [
        "What does {n} do?", "What is {n} for?", "Explain {n}.", "What does the command {n} do?",
        "Describe {n}.", "{n}?", "What happens if I run {n}?", "When do I use {n}?",
        "What is the purpose of {n}?", "Tell me about {n}.", "What will {n} show me?",
        "How does {n} help me?"]),
    "which-verb": (6, "verb {a}", [
        "Which command is for this: {n}?", "Which verb of qwenctl is this: {n}?", "How do I do this: {n}?",
        'Which command does "{n}"?', "I want to do this: {n}. Which command?", "Name the verb: {n}.",
        "What do I type for this: {n}?", 'What is the verb for "{n}"?']),
    "usage": (4, "usage of {n}", [
        "What is the usage of {n}?", "How is {n} called?", "What arguments does {n} take?",
        "Show the usage of {n}.", "What is the syntax of {n}?", "How do I call {n}?",
        "Which arguments does {n} have?", "What do I write after {n}?"]),
    "exit": (4, "exit code {n}", [
        "What does exit code {n} mean?", "What is exit code {n}?", "qwenctl ended with {n}. Why?",
        "Exit code {n}?", "What does it mean when qwenctl exits with {n}?", "Explain exit code {n}.",
        "My script got exit code {n} from qwenctl.", "qwenctl returned {n}. What is wrong?",
        "What does the exit status {n} tell me?", "Meaning of exit code {n}?"]),
    "which-exit": (2, "exit code for: {n}", [
        "Which exit code means: {n}?", "What is the exit code for this: {n}?",
        'Which exit code stands for "{n}"?', "With which code does qwenctl exit: {n}?",
        "What code does a script see for this: {n}?", 'What exit code does "{n}" have?']),
    "status": (3, "error {n}", [
        "What does {n} mean?", "What is the error {n}?", "I get {n}. What is it?", "Explain the error {n}.",
        "Why {n}?", "When does {n} come?", "The daemon answers {n}. Why?", "What is the reason for {n}?",
        "Error {n}?", "What causes the error {n}?"]),
    "status-number": (1, "number of {n}", [
        "Which number does the error {n} have?", "What is the code of {n}?", "What is the number of {n}?",
        "Which error code is {n}?", "Error code of {n}?", "What number is {n}?"]),
    "status-name": (1, "name of error {n}", [
        "What is the name of error {n}?", "What is error {n} called?", "Which error has the number {n}?",
        "Error {n} is what?", "How is error {n} named?", "Name of error code {n}?"]),
    "key": (3, "key {n}", [
        "What does the key {n} mean?", "What is {n} in qwend.conf?", "What does {n} set?",
        "What is the setting {n} for?", "Explain the configuration key {n}.",
        "What does {n} mean in the configuration?", "What do I set with {n}?",
        "What is {n} in the daemon's configuration?", "Describe the key {n}.",
        "What is the purpose of the setting {n}?"]),
    "default": (2, "default of {n}", [
        "What is the default of {n}?", "Which default does {n} have?", "What is the default value of {n}?",
        "What is {n} if I do not set it?", "Default of {n}?", "What value has the key {n} by default?",
        "How is {n} set by default?", "Tell me the default of the key {n}."]),
    "which-key": (2, "key {a}", [
        "Which key sets this: {n}?", "Which setting is it: {n}?", "Which key of qwend.conf means: {n}?",
        "Name the configuration key: {n}.", 'Which key is described as "{n}"?',
        "How do I configure this: {n}?", "Where do I set this: {n}?", 'What is the key for "{n}"?']),
    "file": (4, "file {n}", [
        "What is {n}?", "What is in {n}?", "What is the file {n} for?", "Explain {n}.",
        "What does {n} contain?", "Why is there a file {n}?", "What do I need {n} for?",
        "Tell me about the file {n}."]),
    "limit": (4, "limit of {n}", [
        "What is the limit of: {n}?", "How much is allowed: {n}?", "What is the limit for {n}?",
        "Limit for {n}?", "How large may it be: {n}?", "What is the maximum for: {n}?",
        "Which limit holds for: {n}?", "How much may a client have of: {n}?"]),
    "trouble": (4, "trouble: {n}", [
        "What do I do when I see this: {n}?", "I see: {n}. What now?", "What does it mean: {n}?",
        "Help: {n}.", "Something is wrong: {n}. What is it?", "What is wrong when I see: {n}?",
        "How do I fix this: {n}?", "I have a problem: {n}."]),
    "chat": (4, "chat command {n}", [
        "What does {n} do in qwenctl chat?", "What is {n} in a conversation?",
        "In the chat, what does {n} do?", "What does the chat command {n} do?",
        "Explain {n} of qwenctl chat.", "What happens if I type {n} in the chat?",
        "What is the chat command {n} for?", "{n} in qwenctl chat?"]),
    "folder": (3, "folder {n}", [
        "What is in the folder {n}?", "What is {n} in the source?", "What does {n} hold?",
        "What do I find in {n}?", "What is the folder {n} for?", "Which code is in {n}?",
        "Describe the folder {n}.", "What lies in {n}?"]),
}  # fmt: skip
PROSE = {
    "what": ["What is qwend?", "Explain qwend.", "What is qwend in one sentence?", "Tell me about qwend.",
             "qwend?", "What kind of program is qwend?", "Describe qwend.", "What does qwend do?",
             "What is this qwend thing?"],
    "how": ["How does qwend work?", "How do programs share the model?",
            "How many copies of the model does qwend hold?", "How do programs use qwend?",
            "How does qwend serve the model?", "Does every program load its own model?"],
    "language": ["Which language is qwend written in?", "What is qwend written in?", "Is qwend written in C?",
                 "In which programming language is qwend?", "What language does qwend use?",
                 "Is qwend a Python program?"],
    "licence": ["What is the licence of qwend?", "Under which licence is qwend?", "How is qwend licensed?",
                "Which license does qwend have?", "May I use qwend freely?", "qwend licence?"],
    "model": ["Which models can qwend load?", "Which files does qwend load?",
              "What model files work with qwend?", "Which model format does qwend need?",
              "Can qwend load GGUF files?", "What do I give to qwend as a model?"],
    "socket": ["Where is the socket of qwend?", "Which socket does qwend listen on?",
               "What is the path of the socket?", "Where does the daemon listen?",
               "On which path is qwend's socket?", "Path of qwend's socket?"],
    "config": ["Where is the configuration of qwend?", "Which file configures qwend?", "Where is qwend.conf?",
               "Where do I configure qwend?", "What is the path of the configuration file?",
               "Path of qwend's configuration?"],
    "log": ["Where does qwend log to?", "Where are the logs of qwend?", "Where do I find the log of qwend?",
            "How do I see the log of qwend?", "Where does the daemon write its log?",
            "Does qwend have a log file?"],
    "start": ["How do I start qwend with systemd?", "How do I enable qwend?",
              "Which command starts qwend under systemd?", "How do I turn on the qwend service?",
              "How is qwend started at boot?", "systemctl command for qwend?"],
    "start-by-hand": ["How do I start qwend without systemd?", "How do I start qwend by hand?",
                      "How do I run qwend as a user?", "Command to start qwend without systemd?",
                      "How can I run the daemon in a container?"],
    "privacy": ["Does qwend log my prompts?", "Are prompts logged?", "Does qwend write my text into a log?",
                "Who can read my prompts in the log?", "Are my answers logged by qwend?",
                "Does qwend keep a log of prompts?"],
    "crash": ["What happens when the engine dies?", "What happens to my answer when the engine crashes?",
              "What if the engine of qwend crashes?", "Is my answer lost when the engine dies?",
              "What does qwend do after a crash of the engine?",
              "The engine was killed. What happens to the answers?"],
    "drain": ["What does qwend do on SIGTERM?", "What happens when qwend gets SIGTERM?",
              "How does qwend stop?", "What happens to running requests when qwend is stopped?",
              "What does SIGINT do to qwend?"],
    "identity": ["How does qwend know who a client is?", "Where does the identity of a client come from?",
                 "How are clients identified?", "How does qwend tell users apart?",
                 "Does a client need a password?"],
    "broker": ["What does the broker do?", "What is the broker of qwend?", "What is the broker for?",
               "Explain the broker.", "What is the task of the broker?", "Why is there a broker?"],
    "engine": ["What does the engine do?", "What is qwend-engine?", "What is qwend-engine for?",
               "Explain the engine of qwend.", "What is the task of the engine?",
               "What does qwend-engine do?"],
    "qwenctl": ["What is qwenctl?", "What is qwenctl for?", "Explain qwenctl.", "Why do I need qwenctl?",
                "qwenctl?", "What kind of program is qwenctl?", "Tell me about qwenctl."],
    "library": ["Which library do I use from C?", "What is libqwend?", "How do I use qwend from a C program?",
                "Is there a C library for qwend?", "What is the library of qwend called?",
                "Which header does a C program need?"],
    "probe": ["What is qwend-probe?", "What does qwend-probe do?", "What is qwend-probe for?",
              "Explain qwend-probe.", "Tell me about qwend-probe.", "What can I do with qwend-probe?"],
    "protocol": ["What is the protocol of qwend called?", "Which protocol does qwend speak?", "What is QWP?",
                 "Where is the protocol of qwend described?", "How do clients talk to qwend?",
                 "Name of the protocol?"],
    "pipe": ["How do I use qwenctl in a pipe?", "Show me a pipe with qwenctl.",
             "How do I let qwend write a commit message?", "Give me an example of qwenctl in a pipeline.",
             "How do I pipe text into qwenctl?"],
    "demo": ["How do I run the demo?", "Which command runs the demo?", "How do I see a demo of qwend?",
             "What starts the demo?", "Command of the demo?", "How do I try qwend?"],
    "test": ["How do I run the tests?", "Which command runs the test suite?", "How do I test qwend?",
             "What runs the tests?", "Command to run all the tests?", "How can I run the whole suite?"],
    "build": ["How do I build qwend?", "How is qwend built?", "Which commands build qwend?",
              "How do I compile qwend?", "How do I build qwend with meson?", "Build commands of qwend?"],
    "prompt-max": ["How large may a prompt be?", "What is the longest prompt?",
                   "How many bytes may a prompt have?", "What is the maximum size of a prompt?",
                   "Maximum prompt size?"],
    "frame-max": ["How large may a frame be?", "What is the maximum size of a frame?",
                  "How many bytes may a frame have?", "What is the largest frame?", "Maximum frame size?"],
    "root": ["May qwend run as root?", "Does qwend run as root?", "Can I start qwend as root?",
             "Does qwend need root?", "How do I run qwend as root?", "Is root needed for qwend?"],
    "env": ["Which environment variable names the socket?", "Which variable does qwenctl look at?",
            "What is QWEND_SOCKET?", "How do I tell clients where the socket is?",
            "What environment variable does qwenctl use?"],
}  # fmt: skip


@lru_cache(maxsize=1)
def load_facts():
    """(facts, weights)."""
    facts = json.loads(FILE.read_text(encoding="utf-8"))
    return facts, [KINDS[f["kind"]][0] if f["kind"] in KINDS else 4 for f in facts]


def loosely(r, question):
    """As people type: at times in lower case, without the last sign, with some words before."""
    if r.random() < 0.12:
        question = question[0].lower() + question[1:]
    if r.random() < 0.12:
        question = question.rstrip("?.")
    if r.random() < 0.08:
        question = r.choice(["Please tell me: ", "A question: ", "Hi! ", "qwend question: "]) + question
    return question


def make_facts(r):
    facts, weights = load_facts()
    return fact_task(r, r.choices(facts, weights)[0])


def fact_task(r, fact, form=None):
    kind, name = fact["kind"], fact["name"]
    forms = PROSE[name] if kind == "prose" else KINDS[kind][2]
    form = r.randrange(len(forms)) if form is None else form
    if kind == "prose":
        question, think, keys = forms[form], f"qwend: {name}", ()
    else:
        question = forms[form].format(n=question_name(r, kind, name))
        think = KINDS[kind][1].format(n=name, a=fact["answer"].rstrip("."))
        keys = (make_key("form", kind, form),)
    keys += (make_key("fact", kind, name, form),)
    want = {"all": fact["need"], "none": []}
    return Task("facts", keys, ask(loosely(r, question)), think, fact["answer"], score="facts", want=want)


def question_name(r, kind, name):
    """An error may be named by its number, its name, or both."""
    if kind == "status":
        return r.choice([name, *name.split()])
    return name[:-1] if kind == "folder" and r.random() < 0.3 else name
