"""Small sums in a sentence, found and calculated: `six times seven`, `12 + 30`."""

import re
from fractions import Fraction
from typing import Final, NamedTuple

_ONES: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS: Final = {word: value for value, word in enumerate(_ONES)} | {
    word: (index + 2) * 10 for index, word in enumerate(_TENS)
}
_OPERATORS: Final = {
    "plus": "+",
    "+": "+",
    "minus": "-",
    "-": "-",
    "times": "*",
    "multiplied by": "*",
    "x": "*",
    "*": "*",
    "divided by": "/",
    "over": "/",
    "/": "/",
}
_WORD: Final = "|".join(sorted(_WORDS, key=len, reverse=True))
_NUMBER: Final = rf"(?:\d{{1,12}}|(?:{_WORD})(?:[ -](?:{_WORD}))?)"
_SIGN: Final = "|".join(re.escape(word) for word in _OPERATORS if len(word) == 1)
_VERB: Final = "|".join(word for word in _OPERATORS if len(word) > 1)
_OPERATOR: Final = rf"(?:\s*(?:{_SIGN})\s*|\s+(?:{_VERB})\s+)"
_SUM: Final = re.compile(rf"(?<!\w){_NUMBER}(?:{_OPERATOR}{_NUMBER}){{1,8}}(?!\w)", re.IGNORECASE)
_TOKEN: Final = re.compile(rf"{_NUMBER}|{_VERB}|{_SIGN}", re.IGNORECASE)


class Sum(NamedTuple):
    """A sum as it was written, and its result."""

    phrase: str
    result: str


def find_sum(text: str) -> Sum | None:
    """Return the first sum in `text` with its result, or None if there is none."""
    found = _SUM.search(text)
    if found is None:
        return None
    phrase = found.group()
    return Sum(phrase, _evaluate(_TOKEN.findall(phrase.lower())))


def _evaluate(tokens: list[str]) -> str:
    """Calculate `number (operator number)*`; times and divided by take precedence."""
    total, term = Fraction(0), Fraction(_number(tokens[0]))
    for operator, word in zip(tokens[1::2], tokens[2::2], strict=True):
        value = _number(word)
        match _OPERATORS[operator]:
            case "+":
                total, term = total + term, Fraction(value)
            case "-":
                total, term = total + term, Fraction(-value)
            case "*":
                term *= value
            case _:
                if not value:
                    return "nothing: one cannot divide by zero"
                term /= value
    result = total + term
    return str(result.numerator) if result.denominator == 1 else f"{float(result):.6g}"


def _number(word: str) -> int:
    if word.isdigit():
        return int(word)
    return sum(_WORDS[part] for part in re.split("[ -]", word))
