/** Bounds on what a template may do: it came with a downloaded model, so it is not trusted. */
import { isStrip, pythonStrip } from './python-strip.js'

export interface Value {
  value: unknown
  type?: string
}

export interface Scope {
  set(name: string, value: unknown): void
}

interface Statement {
  type?: string
  operator?: { value?: string }
  left?: object
  right?: object
  /** What is printed when it is evaluated, in a block of one kind or another. */
  body?: unknown
  alternate?: unknown
  defaultBlock?: unknown
}

/** A filter with arguments; one without is a name. */
interface Filter {
  value?: string
  callee?: { value?: string }
  args?: object[]
}

interface Member extends Statement {
  object: object
  property: { value?: unknown }
  computed: boolean
}

/** What of the package's interpreter is relied on, its private methods included: its version is pinned. */
export interface JinjaInterpreter {
  run(program: object): Value
  evaluate(statement: object | undefined, scope: Scope): Value
  evaluateArguments(args: object[], scope: Scope): [positional: Value[], named: Map<string, Value>]
  evaluateMemberExpression(member: Member, scope: Scope): Value
  applyFilter(operand: Value, filter: Filter, scope: Scope): Value
}

export interface JinjaPackage {
  tokenize(source: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }): object[]
  parse(tokens: object[]): object
  Environment: new () => Scope
  Interpreter: new (scope: Scope) => JinjaInterpreter
}

/** Real templates are some 20 KB. */
export const MAX_SOURCE_CHARS = 512 * 1024
export const MAX_BLANKS = 500
/**
 * In steps of about the same price, a microsecond: a node that is evaluated, 32 characters that are copied, a
 * list entry that is walked. Real templates take a few thousand. Time is no bound: beside a busy trainer an honest
 * template takes long.
 */
const MAX_WORK = 2_000_000
const MAX_SIZE = 8 * 1024 * 1024
/** Size of a value times that of what is put between its parts. */
const MAX_PRODUCT = 64 * 1024 * 1024
const MAX_RANGE = 10_000

const COST = {
  node: 1,
  /** Looks up or copies characters. */
  character: 1 / 32,
  entry: 4,
  /** An error is made, its stack included: for a name that is not there, `continue` and `break`. */
  thrown: 20,
  /** A string's methods are made anew. */
  methods: 5,
  lookedFor: 1 / 256,
  /** Writes out, compares or weighs what a value holds, entry by entry. */
  walked: 1 / 4,
}

/** Filters that go through all that a value holds, and those of them that compare its entries with one another. */
const WALKERS: ReadonlySet<string> = new Set([
  'tojson',
  'string',
  'join',
  'unique',
  'sort',
  'dictsort',
  'indent',
])
const SORTERS: ReadonlySet<string> = new Set(['sort', 'dictsort'])
/** Filters whose arguments count once per part of the value: what is put between, or the path to what is looked up. */
const MULTIPLIERS: ReadonlySet<string> = new Set(['tojson', 'indent', 'join', 'replace', 'map', 'sort'])

const OVERRIDDEN = ['evaluate', 'evaluateArguments', 'evaluateMemberExpression', 'applyFilter'] as const

class TemplateOverrun extends Error {}

/** A binary expression that is being evaluated, and its left side once that is known. */
interface Operation {
  operator: string
  left: object
  right: object
  value?: Value
}

/**
 * The package's interpreter, with its work counted and its values weighed, so that nested loops and doubling values end in an
 * error.
 *
 * @throws Error when the class lacks a method that is overridden here: the bounds would then be none
 */
export function boundedInterpreter(Interpreter: JinjaPackage['Interpreter']): JinjaPackage['Interpreter'] {
  for (const method of OVERRIDDEN) {
    if (typeof (Interpreter.prototype as Partial<JinjaInterpreter>)[method] !== 'function') {
      throw new Error(
        `@huggingface/jinja has no Interpreter.${method}, which bounds what a template may do; install the version that package.json names`,
      )
    }
  }
  return class extends Interpreter {
    #work = 0
    readonly #weights = new WeakMap<object, number>()
    /** Whether what is being weighed holds a namespace, the one value that changes: its weight is not kept. */
    #changeable = false
    readonly #nodes = new WeakMap<object, number>()
    /** What a statement gave last, and what the filter with these arguments is applied to. */
    readonly #evaluated = new WeakMap<object, Value>()
    readonly #operands = new WeakMap<object[], Value>()
    readonly #operations: Operation[] = []
    readonly #entered = new WeakSet<object>()
    readonly #printed = new WeakSet<object>()

    override evaluate(statement: Statement | undefined, scope: Scope): Value {
      this.#spend(COST.node)
      const operation = operationOf(statement)
      if (operation) this.#operations.push(operation)
      if (statement) this.#enter(statement)
      let value: Value
      try {
        value = super.evaluate(statement, scope)
      } catch (error) {
        this.#spend(COST.thrown)
        throw error
      } finally {
        if (operation) this.#operations.pop()
      }
      this.#spend(priceOf(value))
      if (this.#weigh(value) > MAX_SIZE) throw new TemplateOverrun(`it makes a value larger than ${MAX_SIZE}`)
      if (statement) this.#leave(statement, value)
      return value
    }

    /** Before a statement is evaluated. */
    #enter(statement: Statement): void {
      // Its body is searched for the names of its arguments.
      if (statement.type === 'Macro' || statement.type === 'CallStatement')
        this.#spend(this.#count(statement))
      if (this.#entered.has(statement)) return
      this.#entered.add(statement)
      for (const block of [statement.body, statement.alternate, statement.defaultBlock]) {
        if (Array.isArray(block)) for (const printed of block) this.#printed.add(printed)
      }
    }

    /** When a statement has been evaluated: what happens to its value next. */
    #leave(statement: Statement, value: Value): void {
      this.#evaluated.set(statement, value)
      if (isNested(value) && this.#printed.has(statement)) this.#spend(this.#weigh(value) * COST.walked)
      const operation = this.#operations.at(-1)
      if (operation?.left === statement) operation.value ??= value
      else if (operation?.right === statement && operation.value)
        this.#operate(operation, operation.value, value)
    }

    #operate({ operator }: Operation, left: Value, right: Value): void {
      if (operator === 'in' || operator === 'not in')
        this.#spend(this.#weigh(left) * this.#weigh(right) * COST.lookedFor)
      // A text and a list: the list is written out.
      else if (operator === '~' || (operator === '+' && isNested(left) !== isNested(right))) {
        for (const side of [left, right]) if (isNested(side)) this.#spend(this.#weigh(side) * COST.walked)
      }
    }

    override applyFilter(operand: Value, filter: Filter, scope: Scope): Value {
      const name = filter.value ?? filter.callee?.value ?? ''
      this.#spend(COST.methods)
      if (isNested(operand) && WALKERS.has(name)) {
        const walk = this.#weigh(operand) * COST.walked
        this.#spend(SORTERS.has(name) ? walk * Math.log2(2 + entriesOf(operand)) : walk)
      }
      if (filter.args && MULTIPLIERS.has(name)) this.#operands.set(filter.args, operand)
      if (filter.value === 'trim' && isText(operand)) return textLike(operand, pythonStrip(operand.value))
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
      if (!object || !isText(object)) return value
      this.#spend(COST.methods)
      if (typeof value.value !== 'function') return value
      const name = member.computed ? this.#evaluated.get(member.property)?.value : member.property.value
      const method = stripping(object, name) ?? value.value
      const bounded = (args: Value[], callScope: Scope) => {
        this.#boundProduct(object, args)
        return method(args, callScope)
      }
      return Object.assign(Object.create(value), { value: bounded })
    }

    #spend(steps: number): void {
      this.#work += steps
      if (this.#work > MAX_WORK) throw new TemplateOverrun(`it takes more than ${MAX_WORK} steps`)
    }

    /** For what goes through a value once per part of its arguments, before anyone can weigh what comes out. */
    #boundProduct(operand: Value, args: readonly Value[]): void {
      const size = (arg: Value) => (typeof arg.value === 'number' ? arg.value : this.#weigh(arg))
      const product = this.#weigh(operand) * Math.max(1, ...args.map(size))
      if (product > MAX_PRODUCT) {
        throw new TemplateOverrun(`a filter or method may make a value larger than ${MAX_PRODUCT}`)
      }
      this.#spend(product * COST.lookedFor)
    }

    /** Characters and entries of a value as if written out, so that a list of references to a list counts in full. */
    #weigh(value: Value): number {
      const inner: unknown = value.value
      if (typeof inner === 'string') return inner.length + 1
      if (!Array.isArray(inner) && !(inner instanceof Map)) return 1
      const known = this.#weights.get(inner)
      if (known !== undefined) return known
      this.#spend(entriesOf(value) * COST.walked)
      const outside = this.#changeable
      this.#changeable = value.type === 'NamespaceValue'
      let weight = 1
      for (const part of inner.values()) weight += this.#weigh(part as Value)
      if (!this.#changeable) this.#weights.set(inner, weight)
      this.#changeable ||= outside
      return weight
    }

    /** Nodes of a part of the program. */
    #count(node: object): number {
      const known = this.#nodes.get(node)
      if (known !== undefined) return known
      let count = 1
      for (const child of node instanceof Map ? node.values() : Object.values(node)) {
        if (typeof child === 'object' && child !== null) count += this.#count(child)
      }
      this.#nodes.set(node, count)
      return count
    }
  }
}

function operationOf(statement: Statement | undefined): Operation | undefined {
  if (statement?.type !== 'BinaryExpression' || !statement.left || !statement.right) return undefined
  return { operator: statement.operator?.value ?? '', left: statement.left, right: statement.right }
}

type Text = Value & { value: string }

const isText = (value: Value): value is Text => typeof value.value === 'string'

/** A value of the package's own class: its methods are made for the text that it was made with. */
const textLike = (like: Text, text: string): Value =>
  new (like.constructor as new (text: string) => Value)(text)

/** The package's `strip`, `lstrip` and `rstrip` pass over which characters are named, and go by what JavaScript calls blank. */
function stripping(object: Text, name: unknown): ((args: Value[]) => Value) | undefined {
  if (!isStrip(name)) return undefined
  return ([characters, ...more]) => {
    const named = characters?.value ?? null
    if (more.length === 0 && (named === null || typeof named === 'string'))
      return textLike(object, pythonStrip(object.value, name, named))
    throw new Error(`${name}() takes one text at most`)
  }
}

const isNested = ({ value }: Value): boolean => Array.isArray(value) || value instanceof Map

const entriesOf = ({ value }: Value): number =>
  Array.isArray(value) ? value.length : value instanceof Map ? value.size : 1

/** What it costs to go through a value once: a loop's list is walked before its body is evaluated. */
function priceOf(value: Value): number {
  if (typeof value.value === 'string') return value.value.length * COST.character
  if (value.value === undefined) return COST.thrown
  return isNested(value) ? entriesOf(value) * COST.entry : 0
}

/** Python's `range`, with an end to its patience. */
export function boundedRange(first: unknown, second?: unknown, third: unknown = 1): number[] {
  const [start, stop] = second === undefined ? [0, Number(first)] : [Number(first), Number(second)]
  const step = Number(third)
  const length = Math.max(0, Math.ceil((stop - start) / step))
  if (step === 0 || ![start, stop, step].every(Number.isInteger)) {
    throw new Error('range() needs integers and a step that is not zero')
  }
  if (length > MAX_RANGE) throw new TemplateOverrun(`range() of ${length} entries is more than ${MAX_RANGE}`)
  return Array.from({ length }, (_, i) => start + i * step)
}
