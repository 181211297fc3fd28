import * as jinja from '@huggingface/jinja'
import { TraitscopeError } from '../errors.js'
import { strftime } from './strftime.js'

interface Value {
  value: unknown
}

interface Scope {
  set(name: string, value: unknown): void
}

/** A filter with arguments; one without is a name. */
interface Call {
  callee?: { value?: string }
  args?: object[]
}

interface Member {
  object: object
}

interface JinjaInterpreter {
  run(program: object): Value
  evaluate(statement: object | undefined, scope: Scope): Value
  evaluateArguments(args: object[], scope: Scope): [positional: Value[], named: Map<string, Value>]
  evaluateMemberExpression(member: Member, scope: Scope): Value
  applyFilter(operand: Value, filter: Call, scope: Scope): Value
}

// The package's own declarations import without file extensions, which leaves these names untyped in ES modules.
const { parse, tokenize, Environment, Interpreter } = jinja as unknown as {
  tokenize(source: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }): object[]
  parse(tokens: object[]): object
  Environment: new () => Scope
  Interpreter: new (scope: Scope) => JinjaInterpreter
}

/**
 * Bounds on what a template may do; it came with a downloaded model, so it is not trusted. Real templates are some
 * 20 KB, take a few thousand steps of work and answer with as many characters as the messages have.
 */
const MAX_SOURCE_CHARS = 512 * 1024
const MAX_WORK = 1_000_000
const MAX_SIZE = 8 * 1024 * 1024
/** Size of a value times that of what is put between its parts. */
const MAX_PRODUCT = 64 * 1024 * 1024
const MAX_RANGE = 10_000
const MAX_MILLISECONDS = 3_000

/** Filters that put something between the parts of a value: spaces of a given width, or a text. */
const MULTIPLIERS: ReadonlySet<string> = new Set(['tojson', 'indent', 'join', 'replace'])

/** A template's own `raise_exception`: it refuses these messages, it is not broken. */
class TemplateRefusal extends Error {}

class TemplateOverrun extends Error {}

/**
 * A compiled Jinja template in the environment that transformers gives chat templates: `trim_blocks` and
 * `lstrip_blocks`, loop controls, `raise_exception`, `strftime_now`; but with a fixed date and bounded work.
 */
export class TemplateEngine {
  readonly #program: object

  /** @throws TraitscopeError TEMPLATE when the source is empty, too long or no Jinja. */
  constructor(source: string) {
    if (source.trim() === '') throw new TraitscopeError('TEMPLATE', 'the chat template is empty')
    if (source.length > MAX_SOURCE_CHARS) {
      throw new TraitscopeError(
        'TEMPLATE',
        `expected a chat template of at most ${MAX_SOURCE_CHARS} characters, found ${source.length}`,
      )
    }
    try {
      this.#program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }))
    } catch (error) {
      throw new TraitscopeError('TEMPLATE', `the chat template is not valid Jinja: ${reason(error)}`, {
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
      throw new TraitscopeError('TEMPLATE', `the chat template ${what}: ${reason(error)}`, { cause: error })
    }
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Counts the work and weighs results, so that nested loops and doubling values end in an error. */
class BoundedInterpreter extends Interpreter {
  #work = 0
  readonly #deadline = performance.now() + MAX_MILLISECONDS
  readonly #weights = new WeakMap<object, number>()
  /** What a statement gave last, and what the filter with these arguments is applied to. */
  readonly #evaluated = new WeakMap<object, Value>()
  readonly #operands = new WeakMap<object[], Value>()

  override evaluate(statement: object | undefined, scope: Scope): Value {
    const value = super.evaluate(statement, scope)
    this.#work += 1 + lengthOf(value)
    if (this.#work > MAX_WORK) throw new TemplateOverrun(`it takes more than ${MAX_WORK} steps`)
    if (performance.now() > this.#deadline) {
      throw new TemplateOverrun(`it takes longer than ${MAX_MILLISECONDS} ms`)
    }
    if (this.#weigh(value) > MAX_SIZE) throw new TemplateOverrun(`it makes a value larger than ${MAX_SIZE}`)
    if (statement) this.#evaluated.set(statement, value)
    return value
  }

  override applyFilter(operand: Value, filter: Call, scope: Scope): Value {
    if (filter.args && MULTIPLIERS.has(filter.callee?.value ?? '')) this.#operands.set(filter.args, operand)
    return super.applyFilter(operand, filter, scope)
  }

  override evaluateArguments(args: object[], scope: Scope): [Value[], Map<string, Value>] {
    const operand = this.#operands.get(args) // before the arguments, which may come here again
    const evaluated = super.evaluateArguments(args, scope)
    if (operand) this.#boundProduct(operand, [...evaluated[0], ...evaluated[1].values()])
    return evaluated
  }

  override evaluateMemberExpression(member: Member, scope: Scope): Value {
    const value = super.evaluateMemberExpression(member, scope)
    const object = this.#evaluated.get(member.object)
    if (typeof object?.value !== 'string' || typeof value.value !== 'function') return value
    const method = value.value
    const bounded = (args: Value[], callScope: Scope) => {
      this.#boundProduct(object, args)
      return method(args, callScope)
    }
    return Object.assign(Object.create(value), { value: bounded })
  }

  /** For what multiplies a value by its arguments, and makes the product before anyone can weigh it. */
  #boundProduct(operand: Value, args: readonly Value[]): void {
    const size = (arg: Value) => (typeof arg.value === 'number' ? arg.value : this.#weigh(arg))
    if (this.#weigh(operand) * Math.max(1, ...args.map(size)) > MAX_PRODUCT) {
      throw new TemplateOverrun(`a filter or method may make a value larger than ${MAX_PRODUCT}`)
    }
  }

  /** Characters and entries of a value as if written out, so that a list of references to a list counts in full. */
  #weigh(value: Value): number {
    const inner: unknown = value.value
    if (typeof inner === 'string') return inner.length + 1
    if (!Array.isArray(inner) && !(inner instanceof Map)) return 1
    const known = this.#weights.get(inner)
    if (known !== undefined) return known
    let weight = 1
    for (const part of inner.values()) weight += this.#weigh(part as Value)
    this.#weights.set(inner, weight)
    return weight
  }
}

/** What it costs to go through a value once, in steps: a loop's list is walked before its body is evaluated. */
function lengthOf({ value }: Value): number {
  if (typeof value === 'string') return value.length / 1024
  return Array.isArray(value) ? 4 * value.length : 0
}

/** Python's `range`, with an end to its patience. */
function boundedRange(first: unknown, second?: unknown, third: unknown = 1): number[] {
  const [start, stop] = second === undefined ? [0, Number(first)] : [Number(first), Number(second)]
  const step = Number(third)
  const length = Math.max(0, Math.ceil((stop - start) / step))
  if (step === 0 || ![start, stop, step].every(Number.isInteger)) {
    throw new Error('range() needs integers and a step that is not zero')
  }
  if (length > MAX_RANGE) throw new TemplateOverrun(`range() of ${length} entries is more than ${MAX_RANGE}`)
  return Array.from({ length }, (_, i) => start + i * step)
}
