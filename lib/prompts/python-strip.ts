/** Blank to Python's `str.strip`; JavaScript's `trim` takes U+FEFF for blank too, and leaves U+001C to U+001F and U+0085. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const BLANK = /[\u001c-\u001f\u0085]|(?!\ufeff)\s/u

/** From which ends the methods of Python's strings take characters. */
const ENDS = { strip: [true, true], lstrip: [true, false], rstrip: [false, true] } as const

export function isStrip(name: unknown): name is keyof typeof ENDS {
  return typeof name === 'string' && Object.hasOwn(ENDS, name)
}

/**
 * Python's `strip`, `lstrip` and `rstrip`.
 *
 * @param characters what is taken away, in any order; null for blanks
 */
export function pythonStrip(
  text: string,
  method: keyof typeof ENDS = 'strip',
  characters: string | null = null,
): string {
  const taken = characters === null ? undefined : new Set(characters)
  const goes = (character: string) => (taken ? taken.has(character) : BLANK.test(character))
  const all = [...text]
  const [left, right] = ENDS[method]
  let [from, to] = [0, all.length]
  while (left && from < to && goes(all[from]!)) from++
  while (right && to > from && goes(all[to - 1]!)) to--
  return all.slice(from, to).join('')
}
