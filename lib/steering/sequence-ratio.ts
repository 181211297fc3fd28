/**
 * How much of two texts is the same, in [0, 1]: `ratio()` of Python's `difflib.SequenceMatcher(None, a, b)`, value for value. Twice
 * the matched characters over all characters, where the longest common block is matched first, then what lies left and
 * right of it. In a text of 200 characters or more, characters that make up over a hundredth of it begin no block, which
 * is difflib's default; the order of the two texts therefore matters.
 */
export function sequenceRatio(a: string, b: string): number {
  const left = [...a] // code points, as in Python
  const right = [...b]
  const total = left.length + right.length
  return total === 0 ? 1 : (2 * matched(left, right)) / total
}

/** From this length on difflib knows popular characters. */
const POPULAR_FROM = 200

function matched(a: readonly string[], b: readonly string[]): number {
  const places = placesOf(b)
  const open = [{ alo: 0, ahi: a.length, blo: 0, bhi: b.length }]
  let sum = 0
  for (let range = open.pop(); range; range = open.pop()) {
    const { i, j, size } = longestMatch(a, b, places, range)
    if (size === 0) continue
    sum += size
    const { alo, ahi, blo, bhi } = range
    if (alo < i && blo < j) open.push({ alo, ahi: i, blo, bhi: j })
    if (i + size < ahi && j + size < bhi) open.push({ alo: i + size, ahi, blo: j + size, bhi })
  }
  return sum
}

/** Where each character stands that may begin a block. */
function placesOf(b: readonly string[]): Map<string, number[]> {
  const places = new Map<string, number[]>()
  for (const [j, character] of b.entries()) {
    const list = places.get(character)
    if (list) list.push(j)
    else places.set(character, [j])
  }
  if (b.length >= POPULAR_FROM) {
    const most = Math.floor(b.length / 100) + 1
    for (const [character, list] of places) if (list.length > most) places.delete(character)
  }
  return places
}

interface Range {
  alo: number
  ahi: number
  blo: number
  bhi: number
}

/** Of the longest blocks the one that begins first in `a`, and of these in `b`; grown by equal neighbours, popular ones too. */
function longestMatch(
  a: readonly string[],
  b: readonly string[],
  places: ReadonlyMap<string, readonly number[]>,
  { alo, ahi, blo, bhi }: Range,
): { i: number; j: number; size: number } {
  let best = { i: alo, j: blo, size: 0 }
  let before = new Map<number, number>() // length of the block that ends at j, for the character before
  for (let i = alo; i < ahi; i++) {
    const ends = new Map<number, number>()
    for (const j of places.get(a[i]!) ?? []) {
      if (j < blo) continue
      if (j >= bhi) break
      const size = (before.get(j - 1) ?? 0) + 1
      ends.set(j, size)
      if (size > best.size) best = { i: i - size + 1, j: j - size + 1, size }
    }
    before = ends
  }
  let { i, j, size } = best
  while (i > alo && j > blo && a[i - 1] === b[j - 1]) {
    i--
    j--
    size++
  }
  while (i + size < ahi && j + size < bhi && a[i + size] === b[j + size]) size++
  return { i, j, size }
}
