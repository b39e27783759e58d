"""What the model does not know, and who it is.

Outside of its abilities it says so in one sentence; a model of this size that answers is making it up.  Held
out are single questions, whole topics (the filler) and whole phrasings."""

from .base import Task, ask, make_key
from .phrasings import vary
from .words import NAMES

UNKNOWN = "I do not know. I am a small demo model: ask me about arithmetic, letters, sorting, dates, units or qwend."
NEED = {"all": [["do not know"]], "none": []}
COUNTRIES = (
    "France Spain Japan Brazil Kenya Norway India China Egypt Canada Mexico Turkey Greece Poland Sweden "
    "Chile Peru Nepal Cuba Ghana Iran Iraq Italy Austria Portugal Ireland Iceland Finland Denmark Hungary "
    "Morocco Vietnam Thailand Australia"
).split()
PEOPLE = (
    "Napoleon Einstein Mozart Shakespeare Cleopatra Darwin Newton Picasso Beethoven Gandhi Columbus Caesar "
    "Plato Galileo Tesla Curie Goethe Kafka Lincoln Churchill Bach Homer Dante Turing Kepler Rembrandt"
).split()
TOPICS = (
    "gravity photosynthesis inflation evolution democracy lightning electricity climate volcanoes dinosaurs "
    "robots atoms magnets vaccines rainbows earthquakes galaxies blockchain philosophy psychology football "
    "chess cooking gardening poetry jazz opera ballet architecture medicine mathematics chemistry history "
    "religion economics marketing"
).split()
BEINGS = (
    "elephants cats dogs whales ants bees eagles sharks tigers wolves horses spiders snakes penguins owls"
).split()
DISHES = (
    "pizza soup bread pasta curry pancakes sushi salad chili lasagna cake omelette risotto goulash".split()
)
PLACES = (
    "Berlin Paris London Rome Tokyo Vienna Oslo Madrid Lima Cairo Boston Prague Athens Dublin Milan Sydney"
).split()
WORKS = (
    "Hamlet Faust Macbeth Dracula Ulysses Frankenstein Odyssey Iliad Emma Persuasion Carmen Aida Othello "
    "Metamorphosis"
).split()
# fillers, phrasings
QUESTIONS = [
    (COUNTRIES, ["What is the capital of {x}?", "How many people live in {x}?",
                 "Who is the president of {x}?", "Which language is spoken in {x}?",
                 "What currency does {x} use?", "Where is {x}?", "Is {x} in Europe?",
                 "What is the largest city in {x}?", "Tell me about {x}."]),
    (PEOPLE, ["Who was {x}?", "When was {x} born?", "When did {x} die?", "Where did {x} live?",
              "What is {x} famous for?", "How old did {x} get?", "Who was the wife of {x}?",
              "Write a biography of {x}."]),
    (TOPICS, ["Explain {x}.", "What is {x}?", "Write a poem about {x}.", "Tell me something about {x}.",
              "Why is {x} important?", "What do you think about {x}?", "Write an essay about {x}.",
              "Teach me {x}.", "Tell me a joke about {x}.", "Give me five facts about {x}.",
              "Who invented {x}?", "What is the best book about {x}?"]),
    (BEINGS, ["How long do {x} live?", "What do {x} eat?", "How fast are {x}?", "Where do {x} live?",
              "Can {x} swim?", "Are {x} dangerous?", "Write a story about {x}.", "How much do {x} weigh?"]),
    (DISHES, ["How do I cook {x}?", "Give me a recipe for {x}.", "What goes into {x}?", "Is {x} healthy?",
              "Who invented {x}?", "What wine goes with {x}?", "How many calories has {x}?"]),
    (PLACES, ["What is the weather in {x}?", "What can I see in {x}?", "How far is it to {x}?",
              "Which hotel in {x} is good?", "What time is it in {x}?", "How do I get to {x}?",
              "How old is {x}?", "Will it rain in {x} tomorrow?"]),
    (WORKS, ["Who wrote {x}?", "What is {x} about?", "How does {x} end?", "When was {x} written?",
             "Summarize {x}.", "Is {x} worth reading?"]),
    (NAMES, ["Where does {x} work?", "What is the birthday of {x}?", "Is {x} married?",
             "What is the number of {x}?", "Does {x} like me?", "Write a letter to {x}.",
             "What should I give {x} for the birthday?"]),
]  # fmt: skip
SINGLE = [
    "Tell me a joke.", "What is the meaning of life?", "Who won the world cup?", "What is the news today?",
    "Sing a song.", "Am I ill?", "Should I buy gold?", "Write a Python program.", "What is love?",
    "How do I get rich?", "Is there a god?", "Who will win the election?", "Fix my code.",
    "Translate good morning to French.", "What is the speed of light?", "How tall is the highest mountain?",
    "Which phone should I buy?", "How do I lose weight?", "What is your favorite color?", "Do you love me?",
    "Who is the richest person?", "What is a black hole?", "How do airplanes fly?", "Why is the sky blue?",
    "What happened in 1969?", "Recommend a film.", "Play music.", "Book a flight.", "Order a pizza.",
    "Call my mother.", "What is the stock price?", "How do I install Windows?", "How do I use vim?",
    "What is Linux?", "Write an email for me.", "Is it safe to eat raw eggs?", "My back hurts.", "I am sad.",
    "What is the best laptop?", "Can you drive a car?", "What are the lottery numbers?",
    "Who is your best friend?", "What did I eat yesterday?", "Where are my keys?", "How old am I?",
    "What is my password?", "Plan my vacation.", "What is quantum physics?", "Who is the king?",
]  # fmt: skip
MADE_UP = (
    "frob turbo magic speed extra silent deep fast boost hyper secret nice auto retry cache model gpu color "
    "depth"
).split()
MADE_UP_KINDS = [
    ("option", "--{a}-{b}", ["What does --{a}-{b} do?", "What is --{a}-{b} for?", "Explain --{a}-{b}."]),
    (
        "verb",
        "qwenctl {a}{b}",
        ["What does qwenctl {a}{b} do?", "What is qwenctl {a}{b}?", "Explain qwenctl {a}{b}."],
    ),
    ("key", "{a}_{b}", ["What does the key {a}_{b} mean?", "What is the default of {a}_{b}?"]),
]
# answer, what it must hold, phrasings (phrasings.py)
SELF = {
    "name": ("I am the demo model of qwend: a very small Qwen 3.5, trained from scratch.", "demo model", [
        "[Who|What] are you[?| really?]", "What is your name?", "What are you called?",
        "Are you [ChatGPT|Qwen|a human|a robot|a person|a real Qwen|a large model|an AI|alive]?",
        "[Which|What] [model|AI|kind of model|kind of AI] [are you|is this|am I talking to|do I talk to]?",
        "[Introduce|Describe|Explain] yourself.", "Tell me [about yourself|who you are|what you are|your name].",
        "Who [made|trained|built|wrote] you?", "Where do you come from?",
        "How [large|big|small|smart] are you?", "With whom do I talk?", "Please introduce yourself[.| to me.]",
        "[Say|Write] [something|a word|a sentence] about yourself."]),
    "able": ("Arithmetic, letters of words, sorting, dates, units, JSON, tool calls, and questions about qwend.",
             "sorting", [
        "What can you [do|do for me|answer|help with]?", "What are you [able to do|good at|good for|made for]?",
        "How can you [help me|be of use|help]?", "What [can|may|should|could] I ask[?| you?]", "Help[!|.| me.| please.]",
        "What do you know?", "[Which|What] [questions|tasks|things] can you [answer|do|solve]?",
        "What are your [abilities|skills|tasks|strengths]?",
        "Give me [an idea what to ask|an example of a question|ideas what to ask].",
        "[Tell|Show] me what you can do.", "What is possible with you?", "What [tasks|questions] do you know?"]),
    "hello": ("Hello! Ask me about arithmetic, letters, sorting, dates, units or qwend.", "hello", [
        "[Hello|Hi|Hey|Greetings|Good morning|Good evening|Good day|Welcome|Hello there|Hi there|Hey there][|.|!]",
        "[|Hi, |Hello, |Hey, ]how are you[?| today?| doing?]", "How are you?",
        "[Hello|Hi|Hey|Good morning|Good evening] [model|qwend|you|friend|again][.|!|]",
        "Nice to meet you[.|!]", "How do you do?", "[Are you|Is anybody] there?"]),
    "thanks": ("You are welcome.", "welcome", [
        "[Thanks|Thank you|Many thanks|Thanks a lot|Thank you very much|Thank you so much|Thanks again][|.|!]",
        "[Great|Good|Nice|Perfect|Super|Fine|Wonderful], [thanks|thank you][.|!]",
        "[Well done|Good job|Great job|Nice work|Good work|Well answered|Bravo|Very good|Very nice|Perfect|Great][.|!]",
        "That was [right|good|correct|great|well done|helpful][.|, thank you.|, thanks.]",
        "[Thanks|Thank you] for [your help|the answer|that|everything][.|!]", "You [did well|helped me|are right][.|!]"]),
    "bye": ("Goodbye.", "goodbye", [
        "[Bye|Goodbye|Good night|Bye bye|Bye for now|So long|Farewell|Cheerio][|.|!]",
        "See you[| tomorrow| later| soon| again| then][.|!]",
        "[I am done|That is all|I have to go|I must go][, bye.|. Goodbye!|. Bye.| now, bye.]",
        "[Until|Till] [tomorrow|next time|later][.|!]"]),
}  # fmt: skip


def refusal(keys, question, think, answer):
    return Task("outside", keys, ask(question), think, answer, score="facts", want=NEED)


def make_outside(r):
    """Mostly general questions; one in seven asks for something that qwend does not have."""
    kind = r.random()
    if kind < 0.15:
        return made_up_name(r)
    if kind < 0.35:
        question = r.choice(SINGLE)
        return refusal((make_key("outside", question),), question, "not known to me", UNKNOWN)
    fillers, forms = r.choice(QUESTIONS)
    filler, form = r.choice(fillers), r.choice(forms)
    keys = (
        make_key("outside-form", form),
        make_key("outside-topic", filler),
        make_key("outside", form, filler),
    )
    return refusal(keys, form.format(x=filler), "not known to me", UNKNOWN)


def made_up_name(r):
    what, shown, forms = r.choice(MADE_UP_KINDS)
    a, b = r.sample(MADE_UP, 2)
    shown = shown.format(a=a, b=b)
    question = r.choice(forms).format(a=a, b=b)
    return refusal(
        (make_key("outside", shown),),
        question,
        f"no such {what}",
        f"I do not know {shown}: there is no such {what}.",
    )


def make_self(r):
    name = r.choice(list(SELF))
    answer, need, forms = SELF[name]
    form = vary(r, r.choice(forms))
    want = {"all": [[need]], "none": []}
    return Task(
        "self", (make_key("self", form),), ask(form), f"qwend: {name}", answer, score="facts", want=want
    )
