import { TraitscopeError } from '../../errors.js'
import { quoted } from '../json/json-scan.js'
import {
  alternatives,
  assertion,
  type CharTest,
  CLASS_ESCAPES,
  equals,
  look,
  type Matcher,
  oneCharacter,
  repeat,
  sequence,
  wordEdge,
} from './position-sets.js'

const MAX_REPEAT = 1000

/** Recursive descent over the part of Python's syntax that regular expressions proper need. */
export class PathPatternParser {
  private at = 0

  constructor(
    private readonly key: string,
    private readonly field: string,
  ) {}

  parse(): Matcher {
    const part = this.alternatives()
    if (this.at < this.key.length) throw this.broken('an unmatched ")"')
    return part
  }

  private alternatives(): Matcher {
    const branches = [this.sequence()]
    while (this.take('|')) branches.push(this.sequence())
    return alternatives(branches)
  }

  private sequence(): Matcher {
    const parts: Matcher[] = []
    while (this.at < this.key.length && !this.sees('|') && !this.sees(')')) parts.push(this.repeated())
    return sequence(parts)
  }

  private repeated(): Matcher {
    const part = this.atom()
    const range = this.quantifier()
    if (!range) return part
    this.take('?') // lazy or greedy: the same positions are reached
    if (this.sees('+')) throw this.refuse('a possessive quantifier')
    if (this.sees('*') || this.sees('?') || this.quantifierAhead()) throw this.broken('a repeated quantifier')
    return repeat(part, range.least, range.most)
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

  private atom(): Matcher {
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

  private group(): Matcher {
    if (this.take('?')) {
      if (this.takeText('=')) return look(this.closed(), true, false)
      if (this.takeText('!')) return look(this.closed(), false, false)
      if (this.takeText('<=')) return look(this.closed(), true, true)
      if (this.takeText('<!')) return look(this.closed(), false, true)
      const name = /^P<[A-Za-z_]\w*>/.exec(this.key.slice(this.at))
      if (name) this.at += name[0].length
      else if (!this.takeText(':')) throw this.refuse('a special group')
    }
    return this.closed()
  }

  private closed(): Matcher {
    const inner = this.alternatives()
    if (!this.take(')')) throw this.broken('an unclosed group')
    return inner
  }

  private escape(): Matcher {
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
    return unsupportedPattern(this.key, this.field, `it uses ${what}`)
  }

  private broken(what: string): TraitscopeError {
    return new TraitscopeError(
      'ADAPTER_INVALID',
      `expected the ${this.field} key ${quoted(this.key)} to be a regular expression, found ${what}`,
    )
  }
}

export function unsupportedPattern(key: string, field: string, why: string): TraitscopeError {
  return new TraitscopeError(
    'UNSUPPORTED',
    `cannot apply the ${field} key ${quoted(key)}: ${why}; write the module paths out in adapter_config.json`,
  )
}
