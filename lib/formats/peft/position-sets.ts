/** Maps the positions where a part of a pattern may start to the positions where it may end. */
export type Matcher = (starts: Positions, match: Match) => Positions
export type Positions = ReadonlySet<number>
export type CharTest = (code: number) => boolean

/** The work that a set of patterns may still cost, over all texts: a hostile pattern must not hold up the process. */
export class MatchBudget {
  private left = 10_000_000

  /** @param tooLong makes the error for when the budget is spent */
  constructor(private readonly tooLong: () => Error) {}

  spend(positions: Positions): void {
    this.left -= positions.size + 1
    if (this.left < 0) throw this.tooLong()
  }
}

/** One match. */
export interface Match {
  readonly text: string
  readonly budget: MatchBudget
}

/** One part after another. */
export function sequence(parts: readonly Matcher[]): Matcher {
  return (starts, match) => {
    let positions = starts
    for (const part of parts) {
      if (positions.size === 0) break
      positions = part(positions, match)
    }
    return positions
  }
}

/** Any of the parts. */
export function alternatives(branches: readonly Matcher[]): Matcher {
  if (branches.length === 1) return branches[0]!
  return (starts, match) => new Set(branches.flatMap((branch) => [...branch(starts, match)]))
}

/** Looks ahead or behind without moving. */
export function look(inner: Matcher, wanted: boolean, behind: boolean): Matcher {
  return (starts, match) => {
    match.budget.spend(starts)
    const holds = (position: number): boolean => {
      if (!behind) return inner(new Set([position]), match).size > 0
      const before = new Set(Array.from({ length: position + 1 }, (_, i) => i))
      return inner(before, match).has(position)
    }
    return new Set([...starts].filter((position) => holds(position) === wanted))
  }
}

/** One character that passes the test. */
export function oneCharacter(test: CharTest): Matcher {
  return (starts, match) => {
    match.budget.spend(starts)
    const ends = new Set<number>()
    for (const position of starts) {
      if (position < match.text.length && test(match.text.charCodeAt(position))) ends.add(position + 1)
    }
    return ends
  }
}

/** Stays where it is when the test holds there. */
export function assertion(holds: (text: string, position: number) => boolean): Matcher {
  return (starts, match) => {
    match.budget.spend(starts)
    return new Set([...starts].filter((position) => holds(match.text, position)))
  }
}

/** A part `least` to `most` times. */
export function repeat(part: Matcher, least: number, most: number): Matcher {
  return (starts, match) => {
    let current: Positions = starts
    for (let i = 0; i < least && current.size > 0; i++) {
      match.budget.spend(current)
      current = part(current, match)
    }
    const reached = new Set(current)
    // Only positions not seen before can lead to new ones, so this ends after at most one round per character.
    for (let i = least; i < most && current.size > 0; i++) {
      match.budget.spend(current)
      current = new Set([...part(current, match)].filter((position) => !reached.has(position)))
      for (const position of current) reached.add(position)
    }
    return reached
  }
}

export function equals(character: string): CharTest {
  const wanted = character.charCodeAt(0)
  return (code) => code === wanted
}

/** `\b` */
export function wordEdge(text: string, position: number): boolean {
  const before = position > 0 && isWord(text.charCodeAt(position - 1))
  const after = position < text.length && isWord(text.charCodeAt(position))
  return before !== after
}

const isDigit: CharTest = (code) => code >= 48 && code <= 57
const isWord: CharTest = (code) =>
  isDigit(code) || (code >= 65 && code <= 90) || code === 95 || (code >= 97 && code <= 122)
const isSpace: CharTest = (code) => code === 32 || (code >= 9 && code <= 13)
/** `\d`, `\w`, `\s` and their opposites, for ASCII. */
export const CLASS_ESCAPES: Readonly<Record<string, CharTest | undefined>> = {
  d: isDigit,
  D: (code) => !isDigit(code),
  w: isWord,
  W: (code) => !isWord(code),
  s: isSpace,
  S: (code) => !isSpace(code),
}
