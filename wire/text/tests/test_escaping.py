"""Hidden and misleading text, held against Unicode's own lists."""

# ruff: noqa: RUF001 - the letters that look like others are meant

import time
import unicodedata
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire.text.escaping import literal, literal_parts, prose, prose_parts
from wire.text.parts import Mark, Reason

# fmt: off
IGNORABLE: Final = [
    chr(code)
    for first, last in (
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
        (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
        (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
        (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
]
"""Default_Ignorable_Code_Point of Unicode 17.0.0 (DerivedCoreProperties.txt)."""
# fmt: on
BIDI: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def read_lookalikes() -> dict[str, str]:
    """Return the characters that look like each ASCII text, from Unicode's list."""
    lines = Path(__file__).with_name("confusables.txt").read_text().splitlines()
    rows = (line.partition(": ") for line in lines if not line.startswith("#"))
    return {
        "".join(chr(int(code, 16)) for code in target.split()): "".join(
            chr(int(code, 16)) for code in sources.split()
        )
        for target, _, sources in rows
    }


LOOKALIKES: Final = read_lookalikes()

anything = st.text(
    st.characters(codec=None, exclude_categories=())
    | st.sampled_from(
        "ab1_ :/.@#\n\t<>" + BIDI + "\u200c\u200d\ufe0f\u20e3\u0301аеіо日のüßم❤👩🏽🌈"
    ),
    max_size=60,
)


def assert_spelled(shown: str, char: str) -> None:
    assert f"U+{ord(char):04X}" in shown
    assert char not in shown


def test_each_ignorable_character_is_spelled_out_everywhere() -> None:
    assert len(IGNORABLE) == 4174
    for char in IGNORABLE:
        for text in (char, f"pay{char}pal", f"日{char}本", f"+{char}x", f"https://a.b/{char}"):
            assert_spelled(literal(text), char)
            assert_spelled(prose(text), char)
        assert f"https://{prose(f'a{char}b.c')}/" == prose(f"https://a{char}b.c/")


def test_the_lists_of_the_examples() -> None:
    selectors = "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE0127)]))
    assert len(selectors) == 55
    for rule in (prose, literal):
        assert rule(f"+ok{selectors}").isascii()
        assert rule("+packages = ['\u3164']") == "+packages = ['<U+3164>']"
        assert rule("https://clаude.ai/login") == "https://xn--clude-5ve.ai/login"


def test_each_lookalike_of_ascii_is_spelled_out_in_what_is_read_exactly() -> None:
    assert sum(map(len, LOOKALIKES.values())) > 1500
    for target, sources in LOOKALIKES.items():
        for char in sources:
            for text in (char, f"+pay{char}l", f"{char}{char}", f"x = '{char}'", f"{char}_1"):
                assert literal(text).isascii(), (target, text)


def test_each_lookalike_of_ascii_is_spelled_out_in_a_url() -> None:
    for rule in (prose, literal):
        for sources in LOOKALIKES.values():
            for char in sources:
                for url in (f"https://{char}.example", f"https://claude{char}ai/{char}?{char}"):
                    assert rule(url).isascii(), url


def test_each_letter_that_looks_like_ascii_is_spelled_out_among_ascii_letters() -> None:
    for target, sources in LOOKALIKES.items():
        for char in sources:
            # Marks and symbols between letters are seen as what they are, and Latin is one script.
            is_letter = target.isalnum() and unicodedata.category(char)[0] in "LN"
            if is_letter and not unicodedata.name(char).startswith("LATIN "):
                for text in (f"p{char}ypal", f"{char}ypal", f"pa{char}"):
                    assert prose(text).isascii(), (target, text)


def test_a_word_of_lookalikes_alone_is_spelled_out() -> None:
    for word in ("раураӏ", "ехес", "сору", "ΡΑΥΡΑΙ", "ᗅᗷ", "ꓮꓑꓑ", "𝐩𝐚𝐲𝐩𝐚𝐥", "ｐａｙ", "ⅰⅼ"):
        assert literal(f"+{word} = 1").isascii(), word
        assert prose(f"see https://{word}.com/{word} now").isascii(), word
    assert prose("see раураӏ.com now").isascii()


@pytest.mark.parametrize(
    "text",
    [
        "zwölf Boxkämpfer über den großen Sylter Deich",
        "Съешь же ещё этих мягких французских булок, да выпей чаю",
        "нужно обновить Node.js и git-репозиторий — см. README",
        "هذا نص عربي، وفيه أرقام ١٢٣ و\u200bلا".replace("\u200b", ""),
        "می\u200cخواهم برنامه\u200cنویس باشم",
        "שָׁלוֹם עוֹלָם",
        "今天天气很好，我们去公园。GitHub上的代码",
        "日本語のテキストとLinuxの設定ー",
        "한국어 문장입니다",
        "क्\u200dष और हिन्दी में पाठ",
        "ක්\u200dෂේත්\u200dරය",
        "สวัสดีชาวโลก",
        "Tiếng Việt có dấu: được",
        "e\u0301te\u0301",
        "güneş ışığı, æbler og þorn",
        "👩\u200d🔬 ❤\ufe0f 🏳\ufe0f\u200d🌈 🧑🏽\u200d💻 1\ufe0f\u20e3 #\ufe0f\u20e3 ☺\ufe0e 🇩🇪",
        "👩\u200d❤\ufe0f\u200d💋\u200d👨 🤷🏻\u200d♀\ufe0f 👁\ufe0f\u200d🗨\ufe0f",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "“quotes” – dashes… → arrows ✓ €\u00a05 µs",
        "├── tree\n│   └── file",
    ],
)
def test_messages_in_any_language_stay_as_they_are(text: str) -> None:
    assert prose(text) == text
    assert prose_parts(text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "plain\n\ttext",
        "für größere Brücken",
        "日本語",
        "ひらがな",
        "한국어",
        "ไทย",
        "e\u0301te\u0301",
    ],
)
def test_plain_words_of_other_languages_are_read_exactly(text: str) -> None:
    assert literal(text) == text


@pytest.mark.parametrize(
    ("text", "in_prose", "exactly"),
    [
        ("pаypal", "p<U+0430>ypal", "p<U+0430>ypal"),
        ("COVIDом", "COVID<U+043E>м", "COVID<U+043E><U+043C>"),
        ("\u13e2ay\u13e2al", "<U+13E2>ay<U+13E2>al", "<U+13E2>ay<U+13E2>al"),
        ("p\U0001d41ay p\uff41y", "p<U+1D41A>y p<U+FF41>y", "p<U+1D41A>y p<U+FF41>y"),
        ("\u2160\u2164 3×4", "\u2160\u2164 3×4", "<U+2160><U+2164> 3<U+00D7>4"),
        ("日本abc", "日本abc", "<U+65E5><U+672C>abc"),
        ("собака", "собака", "<U+0441><U+043E><U+0431><U+0430><U+043A><U+0430>"),
        ("ab שלום", "ab שלום", "ab <U+05E9><U+05DC><U+05D5><U+05DD>"),
        ("wait…", "wait…", "wait<U+2026>"),
        ("i\u0307d", "i\u0307d", "i<U+0307>d"),
        ("\x1b[2J\x9b\r", "<U+001B>[2J<U+009B><U+000D>", "<U+001B>[2J<U+009B><U+000D>"),
        ("a\u2028b", "a<U+2028>b", "a<U+2028>b"),
        ("x\u200dy", "x<U+200D>y", "x<U+200D>y"),
        ("☺\ufe0f\ufe0f", "☺\ufe0f<U+FE0F>", "<U+263A><U+FE0F><U+FE0F>"),
        ("\u2800", "<U+2800>", "<U+2800>"),
        ("\ue000\ufffe\U000e1000", "<U+E000><U+FFFE><U+E1000>", "<U+E000><U+FFFE><U+E1000>"),
        ("\ud800", "<U+D800>", "<U+D800>"),
        ("a" + "\u0301" * 6, "a" + "\u0301" * 4 + "<U+0301>" * 2, "a" + "<U+0301>" * 6),
        ("https://münchen.example/ü", "https://xn--mnchen-3ya.example/ü", None),
        ("https://ａ.example/", "https://<U+FF41>.example/", None),
        ("https://a。example/", "https://a<U+3002>example/", None),
        ("https://u:pа@аb.de:80/", "https://u:p<U+0430>@xn--b-7sb.de:80/", None),
        ("git+ssh://аpple.com\\x", "git+ssh://xn--pple-43d.com\\x", None),
        ("https://a.b/" + "путь", "https://a.b/<U+043F><U+0443><U+0442><U+044C>", None),
    ],
)  # fmt: skip
def test_how_it_is_shown(text: str, in_prose: str, exactly: str | None) -> None:
    assert prose(text) == in_prose
    assert literal(text) == (in_prose if exactly is None else exactly)


def test_bidi_controls_are_spelled_out_everywhere() -> None:
    for char in BIDI:
        for text in (f"a{char}b", f"שלום{char}עולם", f"مرحبا{char}ا", f"👩{char}🔬"):
            assert_spelled(prose(text), char)
            assert_spelled(literal(text), char)


@given(anything)
@example("://ab\u00a0\u202e")
@example("а.com ://а")
def test_only_plain_words_are_read_exactly(text: str) -> None:
    shown = literal(text)
    for char in shown:
        if not (char.isascii() and (char.isprintable() or char in "\n\t")):
            assert unicodedata.category(char)[0] in "LM" or unicodedata.category(char) == "Cn"
            assert unicodedata.bidirectional(char) not in ("R", "AL", "AN")
            assert char not in IGNORABLE
    shown.encode()


@given(anything)
def test_nothing_hidden_is_in_a_message(text: str) -> None:
    shown = prose(text)
    for char in shown:
        assert char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp", "Co")
        assert char not in BIDI
    shown.encode()


@given(anything)
@example("a\u0301\u0301\u0301\u0301\u0301\u200cب")
@example("://а\u00a0б\u0085в")
@example("с\u200b.com")
def test_applying_a_rule_again_changes_nothing(text: str) -> None:
    assert prose(prose(text)) == prose(text)
    assert literal(literal(text)) == literal(text)
    assert prose(literal(text)) == literal(text)


@given(anything)
def test_the_parts_make_the_whole_text(text: str) -> None:
    for parts, rule in ((prose_parts, prose), (literal_parts, literal)):
        found = parts(text)
        assert "".join(part if isinstance(part, str) else part.text for part in found) == text
        assert "".join(map(str, found)) == rule(text)


def test_a_mark_says_why() -> None:
    assert literal_parts("pаy \u202e") == [
        "p",
        Mark("а", "U+0430", Reason.MIXED),
        "y ",
        Mark("\u202e", "U+202E", Reason.UNUSUAL),
    ]
    assert prose_parts("ssh://аb/") == ["ssh://", Mark("аb", "xn--b-7sb", Reason.HOST), "/"]


@pytest.mark.parametrize(
    "shape",
    [
        "a", "é", "a é", "é1", "://", "://é", "://é/", "é.", "а.", "#\ufe0f\u20e3", "\u200c",
        "ب\u200c", "👩\u200d", "❤\ufe0f", "\u0301", "\u0301\u0327", "\U000e0041", "\x1b", "日本 ",
        "Съешь ещё ",
    ],
)  # fmt: skip
def test_hostile_text_takes_linear_time(shape: str) -> None:
    def seconds(length: int) -> float:
        text = "x" + shape * (length // len(shape)) + "é"
        start = time.process_time()
        prose(text)
        literal(text)
        return time.process_time() - start

    # At most some tenths of a second; what takes quadratic time takes minutes.
    assert seconds(100_000) < 5
