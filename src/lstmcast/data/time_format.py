"""Ways in which people's tools write dates and times, beside ISO 8601, as formats of ``datetime.strptime``.

One directive is added: ``%q``, the quarter, 1 to 4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product

DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%m/%Y", "%Y/%m"),
    *("%d.%m.%Y", "%d.%m.%y", "%Y.%m.%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%m-%d-%y"),
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d %b %y", "%b %d %Y", "%B %d %Y", "%b %d, %Y", "%B %d, %Y"),
    *("%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y %b", "%Y %B", "%Y-%b", "%Y-%m-%d"),
)
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
ZONES = ("", "Z", " UTC", " GMT", "%z", " %z")
QUARTERS = ("%YQ%q", "%Y-Q%q", "%Y Q%q", "Q%q %Y", "Q%q-%Y", "Q%q/%Y")
FORMATS = (*map("".join, product(DATES, CLOCKS, ZONES)), *QUARTERS)
# taken for numbers, unless they are evenly spaced as months alone
YEAR_AND_MONTH = "%Y%m"


def read(text: str, form: str) -> datetime | None:
    """Return the time that a text has in a format, in UTC if it names no zone; None: it has none."""
    if "%q" in form:
        pattern = form.replace("%Y", r"(?P<year>\d{4})").replace("%q", "(?P<quarter>[1-4])")
        match = re.fullmatch(pattern, text, re.ASCII)
        return match and datetime(int(match["year"]), 3 * int(match["quarter"]) - 2, 1, tzinfo=UTC)
    try:
        time = datetime.strptime(text, form)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def formats_of(texts: Sequence[str]) -> list[str]:
    """Return the formats in which all texts can be read; those that read them alike stand there once."""
    found = [form for form in FORMATS if read(texts[0], form)]
    for text in texts[1:]:
        if not found:
            break
        found = [form for form in found if read(text, form)]
    different: dict[tuple[datetime | None, ...], str] = {}
    for form in found:
        different.setdefault(tuple(read(text, form) for text in texts), form)
    return list(different.values())


def write(time: datetime, form: str) -> str:
    """Return a time in a format."""
    return time.strftime(form.replace("%q", str((time.month + 2) // 3)))
