/** Options that several commands share, and where their values come from: config file < environment < flags. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { TraitscopeError } from '../lib/errors.js'

export function integer(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('expected a whole number.')
  return Number(text)
}

/** `14` or `12,14,16`. */
export function integerList(text: string): number[] {
  const parts = text.split(',').map((part) => part.trim())
  if (parts.some((part) => !/^\d+$/.test(part))) {
    throw new InvalidArgumentError('expected whole numbers separated by commas, e.g. 12,14.')
  }
  return parts.map(Number)
}

/** `0.1` or `0.05,0.1`. */
export const numberList = (text: string): number[] => text.split(',').map(number)

/** `a` or `a,b`. */
export function names(text: string): string[] {
  const parts = text.split(',').map((part) => part.trim())
  if (parts.some((name) => name === '')) {
    throw new InvalidArgumentError('expected names separated by commas, e.g. gsm8k,jailbroken.')
  }
  return parts
}

export function number(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('expected a number.')
  return value
}

export function seconds(text: string): number {
  const value = number(text)
  if (value < 0) throw new InvalidArgumentError('expected a number of seconds, 0 or more.')
  return value
}

/** `6%` or `0.06`. */
export function share(text: string): number {
  const value = text.endsWith('%') ? number(text.slice(0, -1)) / 100 : number(text)
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('expected a share such as 6% or 0.06.')
  return value
}

/** Of a flag that may be given several times: all of its values. */
export const repeated = (text: string, previous: readonly string[] = []) => [...previous, text]

/** An option with its environment variable: `--batch-tokens` is `TRAITSCOPE_BATCH_TOKENS`. */
export function option(flags: string, description: string): Option {
  const made = new Option(flags, description)
  return made.env(`TRAITSCOPE_${made.name().replaceAll('-', '_').toUpperCase()}`)
}

export const sequencesOption = () =>
  option(
    '--sequences <n>',
    'answers computed at once, up to 256 (default: as many as 2 GiB hold, or a quarter of a GPU)',
  ).argParser(integer)

/**
 * Refuses flags that would do nothing where they stand.
 *
 * @param takes whether an option, by its attribute, does something there
 * @throws TraitscopeError USAGE naming them
 */
export function refuseIdle(command: Command, where: string, takes: (name: string) => boolean): void {
  const idle = command.options.filter((each) => {
    const name = each.attributeName()
    return command.getOptionValueSource(name) === 'cli' && !takes(name)
  })
  if (idle.length === 0) return
  const flags = idle.map(({ long }) => long).join(', ')
  throw new TraitscopeError(
    'USAGE',
    `expected ${where}, found ${flags}, which would do nothing there: leave it out`,
  )
}

/**
 * Refuses values that are empty: a variable of the shell that is not set, and an empty path would be the working directory.
 *
 * @throws TraitscopeError USAGE naming the first of them, and where it comes from
 */
export function refuseEmptyValues(command: Command): void {
  const isEmpty = (value: unknown) => [value].flat().some((one) => one === '')
  const argument = command.processedArgs.findIndex(isEmpty)
  if (argument !== -1) throw emptyValue(`<${command.registeredArguments[argument]!.name()}>`, '')
  for (const each of command.options) {
    const name = each.attributeName()
    if (!isEmpty(command.getOptionValue(name))) continue
    const source = command.getOptionValueSource(name)
    const from = source === 'env' ? ` in ${each.envVar}` : source === 'config' ? ' in the config file' : ''
    throw emptyValue(each.long!, from)
  }
}

function emptyValue(what: string, from: string): TraitscopeError {
  return new TraitscopeError(
    'USAGE',
    `expected a value for ${what}, found an empty one${from}: is a variable not set? leave it out, or give it a value`,
  )
}

const SOURCES = ['default', 'config', 'env', 'cli']

/** Of two options that exclude each other, a flag wins over the environment, and that over the config file. */
export function keepStronger(command: Command, one: string, other: string): void {
  const rank = (name: string) => SOURCES.indexOf(command.getOptionValueSource(name) ?? 'default')
  if (rank(one) <= 0 || rank(other) <= 0 || rank(one) === rank(other)) return
  command.setOptionValueWithSource(rank(one) < rank(other) ? one : other, undefined, 'default')
}

/** Which of a folder's runs a command takes. */
export interface RunsFlags {
  datasets?: string[]
  exclude?: string[]
}

export function addRunsOptions(command: Command): Command {
  return command
    .addOption(option('--datasets <name[,name]>', 'only runs on these data, by folder name').argParser(names))
    .addOption(option('--exclude <name[,name]>', 'all runs but those on these data').argParser(names))
}

/** Verdict from which on a command fails, for {@link exitCodeOf}. */
export function failOnOption(): Option {
  return new Option('--fail-on <verdict>', 'exit with code 3 from this verdict on')
    .choices(['none', 'warn', 'alarm'])
    .default('alarm')
}

/** What `add` adds stands below a heading of its own in the help; what comes after it, where it would have stood. */
export function underHeading(command: Command, heading: string, add: () => unknown): Command {
  const before = command.optionsGroup()
  command.optionsGroup(heading)
  add()
  return command.optionsGroup(before || 'Options:')
}

export function addOutputOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document')
    .option('-q, --quiet', 'no progress, no notes; remarks and errors stay')
}

/** llama.cpp's names have several letters after one dash, which POSIX reads as several flags. */
const LLAMA_FLAGS = new Map(
  Object.entries({
    '-ngl': '--gpu-layers',
    '-ub': '--batch-tokens',
    '--lora': '--adapter',
    '--ubatch-size': '--batch-tokens',
    '--n-gpu-layers': '--gpu-layers',
  }),
)

export function translateLlamaFlags(argv: readonly string[]): string[] {
  const end = argv.indexOf('--')
  return argv.map((arg, i) => {
    if (end !== -1 && i > end) return arg
    const [flag = arg, ...rest] = arg.split('=')
    const name = LLAMA_FLAGS.get(flag)
    return name === undefined ? arg : [name, ...rest].join('=')
  })
}

/**
 * Makes `TRAITSCOPE_RESIDUAL_BASE=0` mean no: commander takes a switch for set when its variable exists.
 *
 * @throws TraitscopeError USAGE for a value that says neither yes nor no
 */
export function readSwitchVariables(command: Command, env: NodeJS.ProcessEnv = process.env): void {
  for (const each of command.options) {
    const name = each.attributeName()
    if (!each.isBoolean() || each.envVar === undefined || command.getOptionValueSource(name) !== 'env')
      continue
    const value = env[each.envVar] ?? ''
    if (/^(1|true|yes|on)$/i.test(value)) continue
    if (!/^(0|false|no|off|)$/i.test(value)) {
      throw new TraitscopeError(
        'USAGE',
        `expected ${each.envVar} to be 1 or 0, found ${JSON.stringify(value)}`,
      )
    }
    command.setOptionValueWithSource(name, false, 'env')
  }
}
