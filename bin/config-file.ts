/** Options of `traitscope.config.yaml`, which lies in the working directory. */
import { existsSync, readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError, type Option } from 'commander'
import { parse } from 'yaml'
import { TraitscopeError } from '../lib/errors.js'
import { fileError } from '../lib/formats/files/file-errors.js'

export const CONFIG_FILE = 'traitscope.config.yaml'

/**
 * What a file of the working directory may not decide, because it may be anybody's: what is run, where data and keys are sent,
 * who may ask a server, and which files are written over.
 */
const NEVER_FROM_FILE: ReadonlySet<string> = new Set([
  'on-alarm',
  'webhook',
  'heartbeat',
  'stop-file',
  'checkpoint-file',
  'trackio',
  'prometheus',
  'host',
  'allow-host',
  'force',
  'judge-module',
  'judge-url',
])

/** @throws TraitscopeError USAGE for a value that a file of the working directory has given */
export function refuseFromFile(command: Command, name: string): void {
  if (command.getOptionValueSource(name) !== 'config') return
  const found = command.options.find((each) => each.attributeName() === name)!
  throw new TraitscopeError('USAGE', neverFromFile(found, CONFIG_FILE))
}

function neverFromFile(found: Option, path: string): string {
  const places = found.envVar === undefined ? 'a flag' : `a flag or the environment (${found.envVar})`
  return `${path}: ${found.long!.slice(2)} is taken from ${places} only, not from a file of the working directory`
}

/**
 * Applies `traitscope.config.yaml` of the working directory: top-level keys for every command, a key named after a
 * command for that one. Environment and flags win over it. Keys are checked for all commands, and values by the command that
 * runs: what `layer` may be differs between them.
 *
 * @param running name of that command
 * @returns whether there is such a file
 */
export function applyConfigFile(command: Command, running: string, path = CONFIG_FILE): boolean {
  if (!existsSync(path)) return false
  const text = textOf(path)
  let config: unknown
  try {
    config = parse(text, { customTags: (tags) => tags.filter((tag) => !isNumber(tag)) })
  } catch (error) {
    const [reason] = (error as Error).message.split(/:?\n/) // the rest quotes the file
    throw new TraitscopeError('USAGE', `${path} is not valid YAML: ${reason}`, { cause: error })
  }
  if (config === null) return true
  if (typeof config !== 'object' || Array.isArray(config)) {
    throw new TraitscopeError('USAGE', `${path} must be a mapping of option names to values`)
  }
  const apply = (target: Command, values: Record<string, unknown>, strict: boolean) => {
    for (const [key, value] of Object.entries(values)) {
      const found = target.options.find((candidate) => candidate.long === `--${key}`)
      if (!found) {
        if (strict) throw new TraitscopeError('USAGE', `${path}: ${target.name()} has no option ${key}`)
        continue
      }
      if (NEVER_FROM_FILE.has(key)) throw new TraitscopeError('USAGE', neverFromFile(found, path))
      if (target.name() !== running) continue
      target.setOptionValueWithSource(
        found.attributeName(),
        configValue(found, value, `${path}: ${key}`),
        'config',
      )
    }
  }
  const all = config as Record<string, unknown>
  const names = new Set(command.commands.map((sub) => sub.name()))
  const known = new Set(command.commands.flatMap((sub) => sub.options.map((each) => each.long?.slice(2))))
  const isMapping = (value: unknown): value is Record<string, unknown> =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
  for (const [key, value] of Object.entries(all)) {
    const isSection = names.has(key) && isMapping(value)
    if (!isSection && !known.has(key)) {
      throw new TraitscopeError('USAGE', `${path}: ${key} is neither an option nor a command`)
    }
  }
  // `directions` is both an option and a command: a mapping is the command's section, anything else the option.
  const shared = Object.fromEntries(
    Object.entries(all).filter(([key, value]) => !(names.has(key) && isMapping(value))),
  )
  for (const sub of command.commands) {
    apply(sub, shared, false)
    const section = all[sub.name()]
    if (isMapping(section)) apply(sub, section, true)
  }
  return true
}

/** Numbers stay as they are written, as in a flag: a name may be `4.10`. */
const isNumber = (tag: unknown): boolean =>
  typeof tag === 'object' && tag !== null && 'tag' in tag && /:(int|float)$/.test(String(tag.tag))

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw fileError(error, path)
  }
}

/** A YAML value as the flag would have given it: lists are the comma form, switches are true or false. */
function configValue(found: Option, value: unknown, where: string): unknown {
  if (found.isBoolean() || found.negate) {
    if (typeof value !== 'boolean') {
      throw new TraitscopeError('USAGE', `${where} must be true or false, found ${JSON.stringify(value)}`)
    }
    return found.negate ? !value : value
  }
  const text = Array.isArray(value) ? value.join(',') : value
  if (typeof text !== 'string') {
    throw new TraitscopeError('USAGE', `${where} must be text or a number, found ${JSON.stringify(value)}`)
  }
  if (!found.parseArg) return text
  try {
    return found.parseArg(text, undefined)
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    throw new TraitscopeError('USAGE', `${where} is ${JSON.stringify(value)}: ${error.message}`, {
      cause: error,
    })
  }
}
