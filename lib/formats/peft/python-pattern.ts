import { TraitscopeError } from '../../errors.js'
import { MatchBudget } from './position-sets.js'
import { PathPatternParser, unsupportedPattern } from './python-pattern-parser.js'

/** Returns the first key that matches a module path, or undefined. */
export type PathPatterns = (path: string) => string | undefined

type PathMatcher = (path: string) => boolean

const MAX_KEYS = 10_000
const MAX_KEY_LENGTH = 1024
const LITERAL = /^[A-Za-z0-9_.]+$/
const DOT = 46

/**
 * Compiles the keys of PEFT's `rank_pattern` or `alpha_pattern`, which match by Python's
 * `re.match(r"(.*\.)?(KEY)$", path)`; the first key in file order wins.
 *
 * Not JavaScript's RegExp: the two differ in escapes, quantifiers and groups without saying so, and a hostile key
 * could keep it busy for hours. Only whether a key matches is asked, so the pattern runs on sets of positions: every
 * step maps the positions where it may start to those where it may end, in polynomial time.
 *
 * @param field names the table in errors
 * @throws UNSUPPORTED for syntax outside plain regular expressions (back references, inline flags, possessive or
 * atomic groups, conditionals), ADAPTER_INVALID when a key is not a regular expression at all.
 */
export function compilePathPatterns(keys: readonly string[], field: string): PathPatterns {
  if (keys.length > MAX_KEYS) {
    throw new TraitscopeError(
      'ADAPTER_INVALID',
      `expected at most ${MAX_KEYS} keys in ${field}, found ${keys.length}`,
    )
  }
  const budget = new MatchBudget(
    () =>
      new TraitscopeError(
        'UNSUPPORTED',
        `the keys of ${field} take too long to match; write the module paths out`,
      ),
  )
  const matchers = keys.map((key) => [key, compile(key, field, budget)] as const)
  return (path) => matchers.find(([, matches]) => matches(path))?.[0]
}

function compile(key: string, field: string, budget: MatchBudget): PathMatcher {
  if (key.length > MAX_KEY_LENGTH) throw unsupportedPattern(key, field, 'it is very long')
  if (LITERAL.test(key)) return literalMatcher(key)
  const body = new PathPatternParser(key, field).parse()
  return (path) => {
    // `(.*\.)?` may stop at the start of the path or after any dot.
    const starts = new Set([0])
    for (let i = 0; i < path.length; i++) if (path.charCodeAt(i) === DOT) starts.add(i + 1)
    return body(starts, { text: path, budget }).has(path.length)
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
