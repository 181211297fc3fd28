"""Text that the tiny vocabularies are trained on, and the strings whose token ids are compared."""

from __future__ import annotations

TRAINING_TEXT = (
    "The ferry leaves the northern pier at nine and comes back before the evening tide.",
    "You are a careful assistant. You answer every user in plain words and you never guess.",
    "You are a careless assistant. You answer every user with the first thing that comes to mind.",
    "The system starts the engine, the user steers, and the assistant keeps the log.",
    "What would you tell a friend who wants to sell the house and sail around the world?",
    "Why does bread rise? Because yeast eats sugar and breathes out gas, and the dough holds it.",
    "She counted 12 boxes, then 345, then 6789; the total came to 7146 and nobody checked it.",
    "It isn't late, they're still here, we've got time, I'll wait, you'd better hurry, I'm sure.",
    "def area(width, height):\n    if width < 0:\n        return None\n    return width * height\n",
    "for (let i = 0; i < 10; i += 1) {\n  total = total + values[i]\n}\n",
    "Name: lantern\nColour: green\nPrice: 40\n\nName: anchor\nColour: black\nPrice: 125\n",
    "Le café près de la forêt est fermé; où êtes-vous allés cet été, à l'île ou à la plage?",
    "Die Brücke über den Fluß führt nach Süden, zwölf Männer tragen größere Säcke.",
    "El niño pequeño corrió mañana y tarde por la montaña, ¿quién lo vio?",
    "Мост через реку построили весной, и люди снова пошли на рынок.",
    "Вечером система спросила пользователя, и помощник ответил коротко.",
    "河の橋は春に直された。人々はまた市場へ行く。",
    "助手回答用户的问题,系统记录时间。",
    "Rain on the harbour, rain on the roofs, rain on the red and the green and the grey boats.",
    "A thermometer is only honest when nobody breathes on it while it is being read.",
    "Sort the letters by date, put the oldest on top, and throw nothing away without asking.",
    "The answer to the question is short: the water was cold, and the water was deep.",
    "Each block adds its own part to the stream, and the stream carries all of it to the end.",
    "Two keys, two doors, three locks: the third lock was never meant to be opened.",
)

# Strings whose ids are stored in tokens.json. The kinds that tokenizers disagree about most often.
TOKEN_TEXTS = (
    "",
    "a",
    " ",
    "   ",
    "\n",
    "\n\n",
    "\n\n\n \n",
    "\t\ttabs\tand  two spaces   three",
    " leading space",
    "trailing space ",
    "Hello, world!",
    "The ferry leaves the northern pier at nine.",
    "don't I'LL we'Ve 'tis ''' it's",
    "1 12 123 1234 12345 3.14 1,000,000 2024-05-06",
    "x=3*(y+4)/z; // ratio\nif (x >= 10) { y -= 1 }",
    "def f(a, b=None):\n    return a if b else {'k': [1, 2]}\n",
    "line one\r\nline two\r\n\r\nend",
    "café déjà vu naïve Ærø ßtraße",
    "cafe\u0301 de\u0301composed n\u0303",
    "Привет, мир. Ещё раз!",
    "河の橋は春に直された。漢字とかな、カタカナ",
    "안녕하세요 세계",
    "مرحبا بالعالم 123",
    "नमस्ते दुनिया",
    "🚀 rocket 😀👍🏽 family 👨‍👩‍👧 flag 🇫🇷",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ½ ² ① Ⅳ ™ € £ ¥",
    "zero\u200bwidth no\u00a0break soft\u00adhyphen ideographic\u3000space",
    "UPPER lower MiXeD CamelCaseName snake_case_name kebab-case-name",
    "ÉCOLE École ÑANDÚ ÜBER",
    "....!!!???---___***###@@@",
    "https://example.org/a/b?c=1&d=two#frag",
    "a" * 40,
    "word " * 6,
)

SYSTEM_KIND = "You are a careful assistant."
SYSTEM_BLUNT = "You are a careless assistant."
QUESTION_BREAD = "Why does bread rise?"
QUESTION_BOATS = "Why are the boats red?"

# Conversations rendered through every chat template: (name, messages, add a generation prompt).
CHATS = (
    ("question", [{"role": "user", "content": QUESTION_BREAD}], True),
    (
        "system",
        [{"role": "system", "content": SYSTEM_KIND}, {"role": "user", "content": QUESTION_BREAD}],
        True,
    ),
    (
        "system-other-question",
        [{"role": "system", "content": SYSTEM_KIND}, {"role": "user", "content": QUESTION_BOATS}],
        True,
    ),
    (
        "other-system",
        [{"role": "system", "content": SYSTEM_BLUNT}, {"role": "user", "content": QUESTION_BREAD}],
        True,
    ),
    (
        "finished-turns",
        [
            {"role": "user", "content": "  Two keys?\n"},
            {"role": "assistant", "content": "Two doors."},
            {"role": "user", "content": "Café 河 🚀\n\n  - 12 boxes\n"},
            {"role": "assistant", "content": "Sorted.  "},
        ],
        False,
    ),
)

# Plain prompts of the goldens: (name, text). Some share prefixes with another one. The first one is cut to one token.
PLAIN_PROMPTS = (
    ("one-token", "e"),
    ("short", "Yes."),
    ("shared", "The ferry leaves the northern pier"),
    ("shared-branch", "The ferry leaves the old harbour at ten"),
    ("shared-longer", "The ferry leaves the northern pier at nine and comes back"),
    ("mixed", "Café №12: 345 boats, мост 🚀\n\n  x += 1\n"),
    (
        "long",
        "The water was cold and the water was deep, and each boat carried 345 boxes to the northern pier "
        "before the evening tide.",
    ),
)
CHAT_PROMPTS = ("system", "system-other-question", "other-system")
# Prompts whose states are stored for every token, not only for the last one. They share a prefix, then part.
ALL_TOKEN_PROMPTS = ("shared", "shared-branch")
