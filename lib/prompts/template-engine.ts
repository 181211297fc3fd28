import * as jinja from '@huggingface/jinja'
import { messageOf, TraitscopeError } from '../errors.js'
import { strftime } from './strftime.js'
import {
  boundedInterpreter,
  boundedRange,
  type JinjaPackage,
  MAX_BLANKS,
  MAX_SOURCE_CHARS,
} from './template-bounds.js'

// The package's own declarations import without file extensions, which leaves these names untyped in ES modules.
const { parse, tokenize, Environment, Interpreter } = jinja as unknown as JinjaPackage

const BoundedInterpreter = boundedInterpreter(Interpreter)

/** A template's own `raise_exception`: it refuses these messages, it is not broken. */
class TemplateRefusal extends Error {}

/**
 * A template's source as jinja2 reads it: CRLF and CR are line ends like LF, in strings and comments too. What messages bring
 * stays as it is, and so do escapes such as `\r` in a string.
 */
export const withLineFeeds = (source: string): string => source.replace(/\r\n?/g, '\n')

/** Blank to one of Python and JavaScript and not to the other, so that `{%-` and `trim` disagree about them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const DISPUTED = /[\u001c-\u001f\u0085\ufeff]/
/** jinja2 takes all blanks before a tag that begins a line, the package takes spaces and tabs. */
const ODD_INDENT = /^[^\S\n]*[^\S\n\t ][^\S\n]*\{[%#]/m

/**
 * A compiled Jinja template in the environment that transformers gives chat templates: `trim_blocks` and
 * `lstrip_blocks`, loop controls, `raise_exception`, `strftime_now`; but with a fixed date and bounded work.
 */
export class TemplateEngine {
  readonly #program: object

  /** @throws TraitscopeError TEMPLATE when the source is empty, too long, no Jinja, or read otherwise by jinja2. */
  constructor(written: string) {
    const source = withLineFeeds(written)
    checkSource(source)
    try {
      this.#program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }))
    } catch (error) {
      throw new TraitscopeError('TEMPLATE', `the chat template is not valid Jinja: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }

  /**
   * @param variables Plain JSON values; a key that is absent is undefined in the template.
   * @param date What `strftime_now` takes for today.
   * @throws TraitscopeError TEMPLATE when the template refuses the variables, fails, or does not come to an end.
   */
  render(variables: Readonly<Record<string, unknown>>, date: Date): string {
    const environment = new Environment()
    const globals = {
      true: true,
      True: true,
      false: false,
      False: false,
      none: null,
      None: null,
      range: boundedRange,
      strftime_now: (format: string) => strftime(date, format),
      raise_exception: (message: unknown) => {
        throw new TemplateRefusal(String(message ?? 'no reason given'))
      },
    }
    for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value)
    try {
      return String(new BoundedInterpreter(environment).run(this.#program).value)
    } catch (error) {
      const what = error instanceof TemplateRefusal ? 'refuses these messages' : 'failed'
      throw new TraitscopeError('TEMPLATE', `the chat template ${what}: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }
}

function checkSource(source: string): void {
  if (source.trim() === '') throw new TraitscopeError('TEMPLATE', 'the chat template is empty')
  if (source.length > MAX_SOURCE_CHARS) {
    throw new TraitscopeError(
      'TEMPLATE',
      `expected a chat template of at most ${MAX_SOURCE_CHARS} characters, found ${source.length}`,
    )
  }
  // The package looks through a run of blanks once from each of them.
  if (new RegExp(`\\s{${MAX_BLANKS + 1}}`).test(source)) {
    throw new TraitscopeError(
      'TEMPLATE',
      `expected at most ${MAX_BLANKS} blank characters in a row in the chat template, found more`,
    )
  }
  const odd = DISPUTED.exec(source) ?? ODD_INDENT.exec(source)
  if (odd) {
    const line = source.slice(0, odd.index).split('\n').length
    throw new TraitscopeError(
      'TEMPLATE',
      `line ${line} of the chat template has a blank that jinja2 reads otherwise (${named(odd[0])}); write a space or a line feed instead`,
    )
  }
}

/** The characters of a text that are no common blank and no tag, as `U+00A0`. */
function named(text: string): string {
  const odd = [...text].filter((character) => !/[ \t\n{%#]/.test(character))
  return odd
    .map((character) => `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`)
    .join(' ')
}
