/** Options that several commands share, and where their values come from: config file < environment < flags. */
import { existsSync } from 'node:fs'
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

/** `1.5` or `1.5,2`. */
function factors(text: string): number[] {
  const parts = numberList(text)
  if (parts.some((part) => part <= 0)) {
    throw new InvalidArgumentError('expected factors above 0 separated by commas, e.g. 1.5,2.')
  }
  return parts
}

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

/** `6G`, `6GiB`, `1500M` or plain bytes: units are powers of 1024. */
function bytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim())
  if (!found) throw new InvalidArgumentError('expected an amount of memory such as 6G or 1500M.')
  return Math.floor(Number(found[1]) * 1024 ** ' kmgt'.indexOf(found[2]!.toLowerCase() || ' '))
}

function gpuLayers(text: string): number | 'auto' {
  return text === 'auto' ? 'auto' : integer(text)
}

/** Of a flag that may be given several times: all of its values. */
export const repeated = (text: string, previous: readonly string[] = []) => [...previous, text]

/** An option with its environment variable: `--batch-tokens` is `TRAITSCOPE_BATCH_TOKENS`. */
export function option(flags: string, description: string): Option {
  const made = new Option(flags, description)
  return made.env(`TRAITSCOPE_${made.name().replaceAll('-', '_').toUpperCase()}`)
}

export interface ModelFlags {
  model: string
  device: string
  gpuLayers: number | 'auto'
  maxVram?: number
  batchTokens?: number
  threads?: number
  chatTemplate?: string
  systemRole: 'auto' | 'native' | 'user-turn'
}

/** @param mandatory false for a command that can do without a base */
export function addModelOptions(command: Command, { mandatory = true } = {}): Command {
  return command
    .addOption(option('-m, --model <gguf>', 'base model').makeOptionMandatory(mandatory))
    .addOption(
      option('--device <name>', 'cpu, a device that `traitscope doctor` lists, or auto').default('auto'),
    )
    .addOption(
      option('--gpu-layers <n>', 'how many of the blocks that run go to the GPU, or auto (also -ngl)')
        .argParser(gpuLayers)
        .default('auto'),
    )
    .addOption(
      option('--max-vram <size>', 'GPU memory to take at most, as 6G (auto: half of what is free)').argParser(
        bytes,
      ),
    )
    .addOption(
      option(
        '--batch-tokens <n>',
        'tokens computed at once: no fewer than the longest prompt has (default: 256 to 2048, so that they take some 700 MB; also -ub)',
      ).argParser(integer),
    )
    .addOption(option('-t, --threads <n>', 'CPU threads (default: all)').argParser(integer))
    .addOption(
      option(
        '--chat-template <file>',
        "Jinja file instead of the GGUF's own template, or plain: a message a line",
      ),
    )
    .addOption(
      option(
        '--system-role <how>',
        'system prompts as the template has them, as a user turn that is acknowledged, or auto: a user turn where the template has no place for them',
      )
        .choices(['auto', 'native', 'user-turn'])
        .default('auto'),
    )
}

/** An adapter to apply: its folder, and the factor on its effect. */
export interface AdapterFlag {
  folder: string
  strength: number
}

/** `DIR` or `DIR:0.5`; the flag may be repeated. A folder whose own name ends like that is taken as it is. */
export function adapterFlag(text: string, previous: readonly AdapterFlag[] = []): AdapterFlag[] {
  const found = existsSync(text) ? null : /^(.+):([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/is.exec(text)
  if (text === '') throw new InvalidArgumentError('expected a folder, found an empty name.')
  const [folder, strength] = found ? [found[1]!, Number(found[2])] : [text, 1]
  return [...previous, { folder, strength }]
}

export const sequencesOption = () =>
  option(
    '--sequences <n>',
    'answers computed at once, up to 256 (default: as many as 2 GiB hold, or a quarter of a GPU)',
  ).argParser(integer)

export const residualBaseOption = () =>
  option(
    '--residual-base',
    "the base is what the adapter's initialisation (PiSSA, OLoRA, CorDA, LoRA-GA, LoftQ) left of the original",
  )

export const adapterNameOption = () =>
  option(
    '--adapter-name <name>',
    'adapter to take where a folder holds several: its sub folder, or "default" for the one in the folder itself',
  )

export const loraModeOption = () =>
  option('--lora-mode <how>', 'attach adapters, merge them into a copy of the base, or what each one needs')
    .choices(['auto', 'attach', 'merge'])
    .default('auto')

export function addCacheOptions(command: Command, what: string): Command {
  return command
    .addOption(option('--cache-dir <dir>', `where ${what} are kept between runs`))
    .option('--no-cache', 'keep nothing between runs, and use nothing kept')
}

export function addDirectionOptions(command: Command): Command {
  command
    .addOption(option('-d, --directions <dir>', 'directions folder made by `traitscope directions`'))
    .addOption(
      option('-l, --layer <n[,n]>', 'layer to report; without --directions they are made there').argParser(
        integerList,
      ),
    )
    .addOption(option('-b, --bundle <dir>', 'give verdicts by this bundle, made by `traitscope calibrate`'))
    .option(
      '--prior',
      'provisional verdicts by what is known of other, small bases; without a bundle they are given anyway',
    )
    .option('--no-prior', 'without a bundle no verdicts at all')
    .addOption(
      option('--traits <file>', "trait pack: core, core-2 or a YAML file (default: the bundle's, else core)"),
    )
    .addOption(adapterNameOption())
    .addOption(residualBaseOption())
    .addOption(loraModeOption())
    .addOption(strengthsOption())
    .option('--allow-mismatch', 'go on although bundle or directions and the run differ (recorded)')
  command.hook('preAction', (_, run) => keepStronger(run, 'bundle', 'directions'))
  return addCacheOptions(command, 'step 0 and merged models (up to 20 GiB)')
}

/** What `measure`, `watch` and `label` share. */
export const strengthsOption = () =>
  option(
    '--adapter-scale <x[,x]>',
    "also with the adapter's effect multiplied by these; as trained in any case",
  ).argParser(factors)

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
function keepStronger(command: Command, one: string, other: string): void {
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
