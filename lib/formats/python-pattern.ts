import { TraitscopeError } from '../errors.js'
import { quoted } from './json-scan.js'

/**
 * Python's `re.match(r"(.*\.)?(KEY)$", path)` for the keys of PEFT's `rank_pattern` and `alpha_pattern`.
 *
 * Not JavaScript's RegExp: the two differ in escapes, quantifiers and groups without saying so, and a hostile key
 * could keep it busy for hours. Only whether a key matches is asked, so the pattern runs on sets of positions: every
 * step maps the positions where it may start to those where it may end, in polynomial time.
 */
export type PathMatcher = (path: string) => boolean

/** Maps the positions where a part may start to the positions where it may end. */
type Step = (starts: Positions, run: Run) => Positions
type Positions = ReadonlySet<number>
interface Run {
  text: string
  budget: number
}
type CharTest = (code: number) => boolean

const MAX_KEY_LENGTH = 1024
const MAX_REPEAT = 1000
const STEP_BUDGET = 2_000_000
const LITERAL = /^[A-Za-z0-9_.]+$/
const DOT = 46

/**
 * Compiles one key.
 *
 * @throws UNSUPPORTED for syntax outside plain regular expressions (back references, inline flags, possessive or
 * atomic groups, conditionals), ADAPTER_INVALID when the key is not a regular expression at all.
 */
export function compilePathPattern(key: string, field: string): PathMatcher {
  if (key.length > MAX_KEY_LENGTH) throw unsupported(key.slice(0, 60), field, 'it is very long')
  if (LITERAL.test(key)) return literalMatcher(key)
  const body = new Parser(key, field).parse()
  return (path) => {
    const run: Run = { text: path, budget: STEP_BUDGET }
    // `(.*\.)?` may stop at the start of the path or after any dot.
    const starts = new Set([0])
    for (let i = 0; i < path.length; i++) if (path.charCodeAt(i) === DOT) starts.add(i + 1)
    const ends = body(starts, run)
    if (run.budget < 0) throw unsupported(key, field, 'it takes too long to match')
    return ends.has(path.length)
  }
}

/** Real configurations list module paths; a dot is "any character" in them, as in every pattern. */
function literalMatcher(key: string): PathMatcher {
  return (path) => {
    const start = path.length - key.length
    if (start < 0 || (start > 0 && path.charCodeAt(start - 1) !== DOT)) return false
    for (let i = 0; i < key.length; i++) {
      const wanted = key.charCodeAt(i)
      if (wanted !== DOT && path.charCodeAt(start + i) !== wanted) return false
    }
    return true
  }
}

class Parser {
  private at = 0

  constructor(
    private readonly key: string,
    private readonly field: string,
  ) {}

  parse(): Step {
    const step = this.alternatives()
    if (this.at < this.key.length) throw this.broken('an unmatched ")"')
    return step
  }

  private alternatives(): Step {
    const branches = [this.sequence()]
    while (this.take('|')) branches.push(this.sequence())
    if (branches.length === 1) return branches[0]!
    return (starts, run) => new Set(branches.flatMap((branch) => [...branch(starts, run)]))
  }

  private sequence(): Step {
    const steps: Step[] = []
    while (this.at < this.key.length && !this.sees('|') && !this.sees(')')) steps.push(this.repeated())
    return (starts, run) => {
      let positions = starts
      for (const step of steps) {
        if (positions.size === 0) break
        positions = step(positions, run)
      }
      return positions
    }
  }

  private repeated(): Step {
    const start = this.at
    const step = this.atom()
    const range = this.quantifier()
    if (!range) return step
    if (start === this.at) throw this.broken('nothing to repeat')
    this.take('?') // lazy or greedy: the same positions are reached
    if (this.sees('+')) throw this.refuse('a possessive quantifier')
    if (this.sees('*') || this.sees('?') || this.quantifierAhead()) throw this.broken('a repeated quantifier')
    return repeat(step, range.least, range.most)
  }

  private quantifier(): { least: number; most: number } | undefined {
    if (this.take('*')) return { least: 0, most: Number.POSITIVE_INFINITY }
    if (this.take('+')) return { least: 1, most: Number.POSITIVE_INFINITY }
    if (this.take('?')) return { least: 0, most: 1 }
    const counts = this.quantifierAhead()
    if (!counts) return undefined
    this.at += counts[0].length
    const least = counts[1] === '' ? 0 : Number(counts[1])
    const most =
      counts[2] === undefined
        ? least
        : counts[2] === ','
          ? Number.POSITIVE_INFINITY
          : Number(counts[2].slice(1))
    if (least > most) throw this.broken('a repeat with its limits swapped')
    if (least > MAX_REPEAT || (most > MAX_REPEAT && most !== Number.POSITIVE_INFINITY)) {
      throw this.refuse(`a repeat count above ${MAX_REPEAT}`)
    }
    return { least, most }
  }

  /** `{2}`, `{2,}`, `{,3}`, `{2,3}`; any other brace is a plain character, as in Python. */
  private quantifierAhead(): RegExpExecArray | undefined {
    const found = /^\{(\d*)(,\d*)?\}/.exec(this.key.slice(this.at))
    return found && found[0] !== '{}' ? found : undefined
  }

  private atom(): Step {
    const character = this.key[this.at++]!
    switch (character) {
      case '(':
        return this.group()
      case '[':
        return oneCharacter(this.characterClass())
      case '.':
        return oneCharacter((code) => code !== 10)
      case '^':
        return assertion((_, position) => position === 0)
      case '$':
        return assertion((text, position) => position === text.length)
      case '*':
      case '+':
      case '?':
        throw this.broken('nothing to repeat')
      case '\\':
        return this.escape()
      default:
        return oneCharacter(equals(character))
    }
  }

  private group(): Step {
    if (this.take('?')) {
      if (this.takeText('=')) return this.look(true, false)
      if (this.takeText('!')) return this.look(false, false)
      if (this.takeText('<=')) return this.look(true, true)
      if (this.takeText('<!')) return this.look(false, true)
      const name = /^P<[A-Za-z_]\w*>/.exec(this.key.slice(this.at))
      if (name) this.at += name[0].length
      else if (!this.takeText(':')) throw this.refuse('a special group')
    }
    return this.closed()
  }

  private closed(): Step {
    const inner = this.alternatives()
    if (!this.take(')')) throw this.broken('an unclosed group')
    return inner
  }

  private look(wanted: boolean, behind: boolean): Step {
    const inner = this.closed()
    return (starts, run) => {
      const holds = (position: number): boolean => {
        if (!behind) return inner(new Set([position]), run).size > 0
        const before = new Set(Array.from({ length: position + 1 }, (_, i) => i))
        return inner(before, run).has(position)
      }
      return new Set([...starts].filter((position) => holds(position) === wanted))
    }
  }

  private escape(): Step {
    const character = this.key[this.at++]
    if (character === undefined) throw this.broken('a trailing backslash')
    if (character === 'A') return assertion((_, position) => position === 0)
    if (character === 'Z') return assertion((text, position) => position === text.length)
    if (character === 'b') return assertion((text, position) => wordEdge(text, position))
    if (character === 'B') return assertion((text, position) => !wordEdge(text, position))
    return oneCharacter(this.escapedTest(character))
  }

  private escapedTest(character: string): CharTest {
    const shared = CLASS_ESCAPES[character]
    if (shared) return shared
    if (/[0-9A-Za-z]/.test(character)) throw this.refuse(`the escape \\${character}`)
    return equals(character)
  }

  private characterClass(): CharTest {
    const negated = this.take('^')
    const tests: CharTest[] = []
    // A "]" in first place is a plain character.
    for (let first = true; first || !this.sees(']'); first = false) {
      if (this.at >= this.key.length) throw this.broken('an unclosed character class')
      tests.push(this.classItem())
    }
    this.at++
    return negated ? (code) => !tests.some((test) => test(code)) : (code) => tests.some((test) => test(code))
  }

  private classItem(): CharTest {
    const low = this.classCharacter()
    const isRange = this.sees('-') && this.key[this.at + 1] !== ']' && this.at + 1 < this.key.length
    if (!isRange) return typeof low === 'function' ? low : (code) => code === low
    this.at++
    const high = this.classCharacter()
    if (typeof low === 'function' || typeof high === 'function' || low > high)
      throw this.broken('a bad range')
    return (code) => code >= low && code <= high
  }

  private classCharacter(): CharTest | number {
    const character = this.key[this.at++]!
    if (character !== '\\') return character.charCodeAt(0)
    const escaped = this.key[this.at++]
    if (escaped === undefined) throw this.broken('a trailing backslash')
    const test = this.escapedTest(escaped)
    return CLASS_ESCAPES[escaped] ? test : escaped.charCodeAt(0)
  }

  private sees(character: string): boolean {
    return this.key[this.at] === character
  }

  private take(character: string): boolean {
    return this.takeText(character)
  }

  private takeText(text: string): boolean {
    if (!this.key.startsWith(text, this.at)) return false
    this.at += text.length
    return true
  }

  private refuse(what: string): TraitscopeError {
    return unsupported(this.key, this.field, `it uses ${what}`)
  }

  private broken(what: string): TraitscopeError {
    return new TraitscopeError(
      'ADAPTER_INVALID',
      `expected the ${this.field} key ${quoted(this.key)} to be a regular expression, found ${what}`,
    )
  }
}

function oneCharacter(test: CharTest): Step {
  return (starts, run) => {
    run.budget -= starts.size
    const ends = new Set<number>()
    for (const position of starts) {
      if (position < run.text.length && test(run.text.charCodeAt(position))) ends.add(position + 1)
    }
    return ends
  }
}

function assertion(holds: (text: string, position: number) => boolean): Step {
  return (starts, run) => new Set([...starts].filter((position) => holds(run.text, position)))
}

function repeat(step: Step, least: number, most: number): Step {
  return (starts, run) => {
    let current: Positions = starts
    for (let i = 0; i < least && current.size > 0 && spend(run, current); i++) current = step(current, run)
    const reached = new Set(current)
    // Only positions not seen before can lead to new ones, so this ends after at most one round per character.
    for (let i = least; i < most && current.size > 0 && spend(run, current); i++) {
      current = new Set([...step(current, run)].filter((position) => !reached.has(position)))
      for (const position of current) reached.add(position)
    }
    return reached
  }
}

function spend(run: Run, positions: Positions): boolean {
  run.budget -= positions.size + 1
  return run.budget >= 0
}

function equals(character: string): CharTest {
  const wanted = character.charCodeAt(0)
  return (code) => code === wanted
}

function wordEdge(text: string, position: number): boolean {
  const before = position > 0 && isWord(text.charCodeAt(position - 1))
  const after = position < text.length && isWord(text.charCodeAt(position))
  return before !== after
}

const isDigit: CharTest = (code) => code >= 48 && code <= 57
const isWord: CharTest = (code) =>
  isDigit(code) || (code >= 65 && code <= 90) || code === 95 || (code >= 97 && code <= 122)
const isSpace: CharTest = (code) => code === 32 || (code >= 9 && code <= 13)
const CLASS_ESCAPES: Readonly<Record<string, CharTest | undefined>> = {
  d: isDigit,
  D: (code) => !isDigit(code),
  w: isWord,
  W: (code) => !isWord(code),
  s: isSpace,
  S: (code) => !isSpace(code),
}

function unsupported(key: string, field: string, why: string): TraitscopeError {
  return new TraitscopeError(
    'UNSUPPORTED',
    `cannot apply the ${field} key ${quoted(key)}: ${why}; write the module paths out in adapter_config.json`,
  )
}
