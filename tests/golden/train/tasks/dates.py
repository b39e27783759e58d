"""Days of the week, calendar dates, times of day.  A year of 365 days: February has 28.

The thinking names what the calculation needs (how long the month is), adds or subtracts in columns, and goes
over the end of the month or the hour in one line whose result is a look-up."""

from .arithmetic import column_add, column_sub
from .base import Task, ask, make_key

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

DAY_AFTER = ["What day is {n} days after {d}?", "Which day of the week is {n} days after {d}?",
             "It is {d}. What day is it in {n} days?",
             "Today is {d}. Which day comes {n} days later?"]  # fmt: skip
DAY_BEFORE = ["What day is {n} days before {d}?", "Which day of the week is {n} days before {d}?",
              "It is {d}. What day was it {n} days ago?"]  # fmt: skip
DATE_AFTER = ["What date is {n} days after {d}?", "Which date is {n} days after {d}?",
              "What is the date {n} days after {d}?", "Today is {d}. What date is it in {n} days?",
              "Add {n} days to {d}."]  # fmt: skip
DATE_BEFORE = ["What date is {n} days before {d}?", "Which date is {n} days before {d}?",
               "What is the date {n} days before {d}?",
               "Today is {d}. What date was it {n} days ago?"]  # fmt: skip
DATE_SPAN = ["How many days are there from {a} to {b}?", "How many days is it from {a} to {b}?",
             "How many days lie between {a} and {b}?"]  # fmt: skip
TIME_AFTER = ["What time is {n} minutes after {t}?", "What time is it {n} minutes after {t}?",
              "It is {t}. What time is it in {n} minutes?", "Add {n} minutes to {t}."]  # fmt: skip
TIME_BEFORE = ["What time is {n} minutes before {t}?", "It is {t}. What time was it {n} minutes ago?",
               "What time was it {n} minutes before {t}?"]  # fmt: skip
LENGTH = ["How many days does {m} have?", "How many days are in {m}?", "How long is {m}?",
          "What is the length of {m} in days?", "How many days has {m}?", "Number of days in {m}?",
          "{m} has how many days?", "Tell me how many days {m} has."]  # fmt: skip


def make_dates(r):
    """One of the kinds; those with more to learn come more often."""
    kinds = (
        weekday,
        weekday,
        date_after,
        date_after,
        date_before,
        date_span,
        clock_after,
        clock_after,
        clock_before,
        length,
    )
    return r.choice(kinds)(r)


def dated(key, question, lines, answer):
    return Task("dates", (key,), ask(question), "\n".join(lines), answer)


def weekday(r):
    """Whole weeks are taken off first; then the days are walked one by one."""
    n, start, back = r.randint(1, 40), r.randrange(7), r.random() < 0.35
    step = -1 if back else 1
    answer = DAYS[(start + step * n) % 7]
    lines = []
    if n >= 7:
        lines.append(f"{n}-{n // 7 * 7}={n % 7}")
    lines.append(" ".join(f"{i} {DAYS[(start + step * i) % 7]}" for i in range(n % 7 + 1)))
    question = r.choice(DAY_BEFORE if back else DAY_AFTER).format(n=n, d=DAYS[start])
    return dated(make_key("weekday", step * n, DAYS[start]), question, lines, answer)


def show_date(r, month, day):
    """The form in a question."""
    return f"{day} {MONTHS[month]}" if r.random() < 0.7 else f"{MONTHS[month]} {day}"


def month_line(month):
    return f"{MONTHS[month]}: {LENGTHS[month]}"


def date_after(r):
    month, n = r.randrange(12), r.randint(1, 28)
    day = r.randint(1, LENGTHS[month])
    total = day + n
    lines = [month_line(month), f"{day}+{n}", *column_add(day, n), f"={total}"]
    end = f"{total} {MONTHS[month]}"
    if total > LENGTHS[month]:
        lines.append(f"{total}-{LENGTHS[month]}={total - LENGTHS[month]}")
        end = f"{total - LENGTHS[month]} {MONTHS[(month + 1) % 12]}"
    question = r.choice(DATE_AFTER).format(n=n, d=show_date(r, month, day))
    return dated(make_key("date", MONTHS[month], day, "+", n), question, lines, end)


def date_before(r):
    month, n = r.randrange(12), r.randint(1, 28)
    day = r.randint(1, LENGTHS[month])
    lines, total, last = [f"{day}-{n}"], day, month
    if day <= n:
        last = (month - 1) % 12
        total = day + LENGTHS[last]
        lines += [month_line(last), f"{day}+{LENGTHS[last]}={total}", f"{total}-{n}"]
    lines += column_sub(total, n)
    question = r.choice(DATE_BEFORE).format(n=n, d=show_date(r, month, day))
    return dated(make_key("date", MONTHS[month], day, "-", n), question, lines, f"{total - n} {MONTHS[last]}")


def date_span(r):
    """From one date to a later one in the same month or the next."""
    month, same = r.randrange(12), r.random() < 0.3
    day = r.randint(1, LENGTHS[month] - 1)
    if same:
        last, end = month, r.randint(day + 1, LENGTHS[month])
        days, lines = end - day, [f"{end}-{day}", *column_sub(end, day)]
    else:
        last = (month + 1) % 12
        end, left = r.randint(1, LENGTHS[last]), LENGTHS[month] - day
        days = left + end
        lines = [month_line(month), f"{LENGTHS[month]}-{day}={left}", f"{left}+{end}", *column_add(left, end)]
    question = r.choice(DATE_SPAN).format(a=show_date(r, month, day), b=show_date(r, last, end))
    return dated(make_key("span", MONTHS[month], day, MONTHS[last], end), question, lines, f"{days} days")


def clock(minutes):
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def clock_parts(r):
    hour, minute = r.randrange(24), r.choice([r.randrange(60), r.randrange(0, 60, 5)])
    return hour, minute, r.choice([r.randint(1, 59), r.randrange(5, 60, 5)])


def clock_after(r):
    hour, minute, n = clock_parts(r)
    total = minute + n
    lines = [f"{minute:02}+{n}", *column_add(minute, n), f"={total}"]
    if total >= 60:
        lines += [f"{total}-60={total - 60}", f"{hour:02}+1={(hour + 1) % 24:02}"]
    start = 60 * hour + minute
    question = r.choice(TIME_AFTER).format(n=n, t=clock(start))
    return dated(make_key("clock", clock(start), "+", n), question, lines, clock(start + n))


def clock_before(r):
    hour, minute, n = clock_parts(r)
    lines, total = [f"{minute:02}-{n}"], minute
    if minute < n:
        total += 60
        lines += [f"{hour:02}-1={(hour - 1) % 24:02}", f"{minute:02}+60={total}", f"{total}-{n}"]
    lines += column_sub(total, n)
    start = 60 * hour + minute
    question = r.choice(TIME_BEFORE).format(n=n, t=clock(start))
    return dated(make_key("clock", clock(start), "-", n), question, lines, clock(start - n))


def length(r):
    """Twelve facts, so it is the phrasing that is held out."""
    month, form = r.randrange(12), r.randrange(len(LENGTH))
    question = LENGTH[form].format(m=MONTHS[month])
    return dated(
        make_key("length", MONTHS[month], form), question, [month_line(month)], f"{LENGTHS[month]} days"
    )
