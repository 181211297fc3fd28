/** Text as a terminal may have it: what files bring is made harmless, colours are ours alone, widths are columns. */

const COLORS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const
export type Color = keyof typeof COLORS

/**
 * Stands for a colour until the text is written. Unicode keeps these characters for uses within a program, so {@link plain}
 * can take everything else that commands a terminal out of a text and leave our own colours in.
 */
const RESET = '\ufdd0'
const MARKS = new Map(
  (Object.keys(COLORS) as Color[]).map((name, i) => [name, String.fromCharCode(0xfdd1 + i)]),
)
const ALL_MARKS = /[\ufdd0-\ufdd6]/g

// Control characters, and those that reorder what stands around them. Line ends and tabs are left to the caller.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const COMMANDS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g
const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

/** `1 run`, `2 runs`. */
export const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`

/** `layer 14`, `layers 12, 14`. */
export const layersText = (layers: readonly number[]): string =>
  `${layers.length === 1 ? 'layer' : 'layers'} ${layers.join(', ')}`

/** A text of several lines without anything that commands a terminal: escapes are shown as `\u001b`. */
export const plain = (text: string): string => text.replace(COMMANDS, escaped)

/** {@link plain} in one line and without colours: for names, which may hold anything. */
export const oneLine = (text: string): string => plain(text).replace(/[\n\t\ufdd0-\ufdd6]/g, escaped)

/** JSON that is safe to look at; it parses to the same value. */
export const safeJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(COMMANDS, escaped)

/** A line for each value, as files hold them. */
export const toJsonl = (values: readonly object[]): string =>
  values.map((value) => `${JSON.stringify(value)}\n`).join('')

export const painted = (name: Color, text: string): string =>
  `${MARKS.get(name)}${text.replace(ALL_MARKS, escaped)}${RESET}`

/** A line as it is written: as {@link oneLine}, but with the colours that {@link painted} asked for, or without any. */
export function rendered(line: string, colors: boolean): string {
  return plain(line)
    .replace(/[\n\t]/g, escaped)
    .replace(ALL_MARKS, (mark) => {
      if (!colors) return ''
      const name = [...MARKS].find(([, own]) => own === mark)?.[0]
      return `\u001b[${name === undefined ? 0 : COLORS[name]}m`
    })
}

// East Asian scripts and pictures take two columns, combining marks none.
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|[\u{20000}-\u{3fffd}]/u
const NARROWEST = /^(?:\p{M}|[\u200b-\u200d]|\ufe0f)$/u

/** Columns that a text takes on a terminal. */
export function columnsOf(text: string): number {
  let columns = 0
  for (const character of text) columns += NARROWEST.test(character) ? 0 : WIDE.test(character) ? 2 : 1
  return columns
}

/** At most so many columns; what is left out of the middle is shown by `…`. */
export function fitted(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text
  if (columns < 1) return ''
  const characters = [...text]
  let [head, tail] = ['', '']
  for (let i = 0; ; i++) {
    const fromHead = i % 2 === 0
    const next = fromHead ? characters.shift() : characters.pop()
    if (next === undefined || columnsOf(head + tail + next) > columns - 1) return `${head}…${tail}`
    if (fromHead) head += next
    else tail = next + tail
  }
}

/** A path as a shell takes it for one word. */
export const quoted = (path: string): string =>
  /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
