/** Texts in which tokenizers differ: scripts, accents of both forms, digits, white space, symbols, contractions. */
export const PROBE_TEXTS: readonly string[] = [
  '',
  'a',
  ' ',
  '  ',
  '\n',
  '\t',
  'Hello, world!',
  ' Hello,  world !  ',
  '   three spaces before, and after   ',
  'one\ntwo\r\nthree\n\nfour\n\n\n five \n \n six\t\tseven\t eight',
  "I'm sure they'll say we've won; it's what you'd do, DON'T, CAN'T, I'LL",
  '0 1 12 123 1234 12345 1234567890 3.14159 1,000,000 2024-07-26 0x1F',
  'a1b22c333d4444 v2.0.1 x86_64 GPT4o 10k',
  'if (a[i] != b->c) { return f(x, y) + "\\n" ; } // 100% /usr/local/bin #!@$^&*()_+-=<>?~`|',
  'https://example.org/a/b?c=d&e=f#g user@example.org C:\\Users\\me',
  '---- ==== .... ,,,, !!!! ((())) **bold** __init__',
  'Straße, Ærø, naïve, coöperate, Ångström, İstanbul, ĲSSELMEER, ﬁne ﬂow',
  'cafe\u0301 e\u0301te\u0301 n\u0303 A\u030A o\u0308 \u1100\u1161\u11A8 \u0928\u093C', // accents apart: NFC joins them
  'café été ñ Å ö 각',
  'Добрый день, мир! Καλημέρα κόσμε. שלום עולם. مرحبا بالعالم. सुप्रभात दुनिया।',
  '今日は世界。你好,世界!안녕하세요 세계. สวัสดีชาวโลก Xin chào thế giới გამარჯობა',
  'ｆｕｌｌ ｗｉｄｔｈ 　ideographic space',
  'no\u00A0break\u2003em\u200Bzero\u200Dwidth\uFEFFmark\u2028line soft\u00ADhyphen',
  '😀 👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠜎 🧿',
  'MixedCaseWords and snake_case, kebab-case, SHOUTING, camelCaseHTTPServer',
  '“quotes” ‘single’ «guillemets» – en — em … ellipsis • bullet ™ © €5 £6 ¥7',
  '\u0001\u001f\u007f control',
]

/** Numbers that are no ASCII digits. */
export const OTHER_DIGITS = 'a ½ ² Ⅳ ٣٤٥ १२३ １２３ 四五六 b'

/** Conversations for a chat template, with white space where templates and tokenizers trim. */
export const PROBE_CHATS = [
  [{ role: 'user', content: 'Hello there' }],
  [
    { role: 'user', content: '  What is 12 + 345?\n' },
    { role: 'assistant', content: ' It is 357. ' },
    { role: 'user', content: '\n\tThank you — naïve café 😀' },
  ],
  [
    { role: 'system', content: ' You are careful.\n' },
    { role: 'user', content: 'Why?' },
  ],
] as const
