import { spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { basename, delimiter, join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { type Channel, Undelivered } from './channel.js'
import type { Notice } from './notice.js'

const KEPT_BYTES = 2000
/** What a program that has ended is given to be heard. */
const LAST_WORDS_MS = 500

/**
 * Looks for a program as it will be looked for: an alarm is no time to learn that there is none.
 *
 * @throws TraitscopeError USAGE
 */
export function checkProgram(program: string, path = process.env.PATH ?? ''): void {
  // Windows adds endings of its own.
  if (process.platform === 'win32') return
  const places = program.includes('/')
    ? [program]
    : path.split(delimiter).map((folder) => join(folder, program))
  const isThere = places.some((place) => {
    try {
      accessSync(place, constants.X_OK)
      return statSync(place).isFile()
    } catch {
      return false
    }
  })
  if (!isThere)
    throw new TraitscopeError('USAGE', `expected a program that can be run, found none called ${program}`)
}

/**
 * Runs a program for every notice, without a shell: the notice as JSON on its stdin, its main fields in the environment
 * (`TRAITSCOPE_NOTICE_KIND`, `_LEVEL`, `_RUN`, `_STEP`, `_EM`, `_THRESHOLD`, `_CHECKPOINT`, `_MESSAGE`; empty where the notice has
 * none). It is run once: what it does may not bear a second time.
 */
export class CommandChannel implements Channel {
  readonly name: string
  readonly tries = 1

  /**
   * @param words program and arguments
   * @param kinds that it is run for; default all
   * @param timeoutMs after which it is ended, default a minute
   */
  constructor(
    private readonly words: readonly string[],
    private readonly kinds?: readonly Notice['kind'][],
    private readonly timeoutMs = 60_000,
  ) {
    this.name = `command ${basename(words[0]!)}`
  }

  accepts({ kind }: Notice): boolean {
    return this.kinds?.includes(kind) ?? true
  }

  /** The end of the watch does not cut it short: what it does may not bear that either, and it has its own limit. */
  send(notice: Notice): Promise<void> {
    const [program, ...args] = this.words
    return new Promise((resolve, reject) => {
      const fail = (reason: string) => reject(new Undelivered(reason, { isFinal: true }))
      const child = spawn(program!, args, {
        env: { ...process.env, ...environmentOf(notice) },
        stdio: ['pipe', 'ignore', 'pipe'],
        timeout: this.timeoutMs,
        killSignal: 'SIGKILL',
        windowsHide: true,
      })
      let said = ''
      child.stderr.on('data', (bytes: Buffer) => {
        said = (said + bytes.toString('utf8')).slice(-KEPT_BYTES)
      })
      // A program that does not read its stdin closes it.
      child.stdin.on('error', () => {})
      child.on('error', (error) => fail(`it could not be run: ${error.message}`))
      // What it has started, and left running, may hold its stderr open for hours.
      child.on('exit', () => {
        const late = setTimeout(() => child.stderr.destroy(), LAST_WORDS_MS)
        child.on('close', () => clearTimeout(late))
      })
      child.on('close', (code, by) => {
        if (code === 0) return resolve()
        const late = `it was still running after ${this.timeoutMs / 1000} s, and was ended`
        const how = child.killed ? late : code === null ? `it was ended by ${by}` : `it ended with ${code}`
        fail(said.trim() === '' ? how : `${how}: ${said.trim().split('\n').at(-1)}`)
      })
      child.stdin.end(`${JSON.stringify(notice)}\n`)
    })
  }
}

function environmentOf(notice: Notice): Record<string, string> {
  const { kind, level, run, step = '', em = '', threshold = '', checkpoint = '', message } = notice
  const fields = { kind, level, run, step, em, threshold, checkpoint, message }
  return Object.fromEntries(
    // A zero byte ends what an environment can hold.
    Object.entries(fields).map(([name, value]) => [
      `TRAITSCOPE_NOTICE_${name.toUpperCase()}`,
      String(value).replaceAll('\0', ''),
    ]),
  )
}
