/** What `watch` and `serve` share: the flags of a watch, and the watch itself. */

import { type Command, InvalidArgumentError, Option } from 'commander'
import { marginReason } from '../lib/detector/margin-warning.js'
import type { VerdictKind } from '../lib/detector/verdict.js'
import { asTraitscopeError, messageOf, TraitscopeError } from '../lib/errors.js'
import { EventReader, type LoggedEvent } from '../lib/events/event-log.js'
import { EventNumbers } from '../lib/events/event-numbers.js'
import { realRun, runState } from '../lib/events/state-folder.js'
import type { EndReason, WatchEvent } from '../lib/events/watch-events.js'
import { defaultStateDir } from '../lib/formats/files/cache-dir.js'
import { exists } from '../lib/formats/files/file-stats.js'
import { firstRetryMs, whenMemoryAllows } from '../lib/monitor/failures.js'
import { isPattern, refuseParent } from '../lib/monitor/run-patterns.js'
import type { SecureMode } from '../lib/monitor/secured-files.js'
import { watchRuns } from '../lib/monitor/watch-run.js'
import type { Step } from '../lib/trajectory/trajectory.js'
import { addContextOptions } from './contexts.js'
import { CurrentLine } from './current-line.js'
import { addDirectionOptions } from './directions.js'
import { addExporterOptions, type ExporterFlags, liveExports } from './exporters.js'
import { printsBesides } from './hangup.js'
import { addReadingOptions, type MeasurementFlags, measurementFromFlags } from './measurement.js'
import { addModelOptions } from './model.js'
import { addNoticeOptions, checkRequestFiles, type NoticeFlags, NoticesFromFlags } from './notices.js'
import { failOnOption, integer, option, seconds } from './options.js'
import type { Output } from './output.js'
import { makeWay } from './priority.js'
import { exitCodeOf, type FailOn } from './verdicts.js'
import type { Saying, WatchView } from './watch-view.js'

export interface WatchFlags extends MeasurementFlags, NoticeFlags, ExporterFlags {
  interval: number
  once?: boolean
  untilStep?: number
  idle?: number
  exitOn?: 'alarm'
  state: string | false
  secure: SecureMode
  order?: 'newest' | 'oldest'
  nice?: number
  idleUnload?: number
  failOn: FailOn
}

/** @param needsModel false for a command that can do without one */
export function addWatchOptions(command: Command, needsModel = true): Command {
  command
    .option('--interval <s>', 'seconds between two looks at a folder', seconds, 2)
    .option('--once', 'measure what is there and end')
    .option('--until-step <n>', 'end after this step, or the first one that is later', integer)
    .option('--idle <s>', 'end when nothing has changed for this many seconds', seconds)
    .addOption(new Option('--exit-on <verdict>', 'end at the first alarm').choices(['alarm']))
    .addOption(failOnOption())
    .addOption(
      option('--state <dir>', 'what the watch remembers between its runs').default(defaultStateDir()),
    )
    .option('--no-state', 'remember nothing: measure anew what is there, secure nothing')
    .addOption(
      new Option('--secure <how>', 'how adapters are kept from rotation until they are measured')
        .choices(['link', 'copy', 'off'])
        .default('link'),
    )
    .addOption(
      new Option('--order <which>', 'what is measured first (default: newest; oldest with --once)').choices([
        'newest',
        'oldest',
      ]),
    )
    .addOption(
      option(
        '--idle-unload <s>',
        'close the base when nothing has waited for this many seconds, and open it again when something does',
      ).argParser(seconds),
    )
    .addOption(
      option(
        '--nice <n>',
        'priority beside other processes, 0 (none given up) to 19 (whatever they leave)',
      ).argParser(niceness),
    )
  return addExporterOptions(
    addNoticeOptions(
      addReadingOptions(
        addContextOptions(addDirectionOptions(addModelOptions(command, { mandatory: needsModel }))),
      ),
    ),
  )
}

/**
 * Watches runs by flags, hands every event over, tells people, and sets the exit code.
 *
 * @param take what is done with an event; with `always`, a failure before the first event is an `error` and an `end` too
 */
export async function watchByFlags(
  runs: readonly string[],
  flags: WatchFlags,
  { output: direct, signal, take, show, always }: Watching,
): Promise<void> {
  let shown: WatchView | undefined
  const output = besideView(direct, () => shown)
  if (flags.nice !== undefined) makeWay(flags.nice)
  printsBesides()
  const outcome = new Outcome()
  const stateDir = flags.state === false ? undefined : flags.state
  const stateOf = async (run: string) =>
    stateDir === undefined ? undefined : (await runState(stateDir, run)).folder
  await checkRequestFiles(flags)
  await using told = new NoticesFromFlags(flags, output, stateOf)
  await using exports = liveExports(flags, output)
  const named = () => Promise.all(runs.filter((run) => !isPattern(run)).map(realRun))
  const numbers = new EventNumbers()
  const each = async (event: WatchEvent, view: WatchView | undefined) => {
    outcome.take(event)
    take(event)
    const numbered = numbers.take(event)
    if (view && numbered?.type === 'baseline' && numbered.resumed && stateDir !== undefined)
      await recall(view, stateDir, numbered, output)
    if (numbered) view?.take(numbered)
    else view?.say(event)
    // People first: a tracker may take its time. What is about no run is about every one that has a name.
    const about = event.type === 'error' && event.run === undefined ? await named() : [event.run]
    for (const run of about) await told.notices.take(run === undefined ? event : { ...event, run })
    if (numbered) await exports.take(numbered)
    else if (event.type === 'end') await exports.end(event)
  }
  try {
    await refuseBefore(runs, { stateDir, once: flags.once === true })
    const begin = () => measurementFromFlags(flags, output, signal)
    const wait = { firstMs: firstRetryMs(1000 * flags.interval), signal }
    await using prepared = await (flags.once
      ? begin()
      : whenMemoryAllows(begin, wait, (error, retryMs) => {
          // No view is drawn yet.
          if (show) output.error(`${error.message}; it is tried again [${error.code}]`)
          return each({ type: 'error', time: new Date().toISOString(), error, retryMs }, undefined)
        }))
    const { model, directions, bundle, prior, ordinary, options, reopen } = prepared
    using line = new CurrentLine(output, { announce: false })
    const pass = (step: Step, fraction: number) =>
      fraction < 1 ? line.show(`measuring step ${step}`, fraction) : line[Symbol.dispose]()
    using view = show?.()
    shown = view
    const watch = watchRuns(model, directions, runs, {
      ...options,
      bundle,
      prior,
      ordinary,
      settle: flags.settle,
      endOnAlarm: flags.exitOn === 'alarm',
      intervalMs: 1000 * flags.interval,
      once: flags.once === true,
      untilStep: flags.untilStep,
      idleMs: flags.idle === undefined ? undefined : 1000 * flags.idle,
      stateDir,
      secure: flags.secure,
      order: flags.order,
      idleUnloadMs: flags.idleUnload === undefined ? undefined : 1000 * flags.idleUnload,
      reopen,
      signal,
      onProgress: view?.progress ?? pass,
    })
    for await (const event of watch) await each(event, view)
    shown = undefined
  } catch (cause) {
    shown = undefined
    if (!always) throw cause
    // Whoever reads events gets an error and an end, whenever it happens.
    const time = new Date().toISOString()
    const error = asTraitscopeError(cause, 'the watch')
    const reason: EndReason = signal.aborted ? 'aborted' : 'failed'
    if (!signal.aborted) take({ type: 'error', time, error })
    take({ type: 'end', time, reason, measured: 0, lost: 0, unfinished: [] })
    throw cause
  }
  const nothing = outcome.nothing
  if (nothing !== undefined && !signal.aborted) output.error(nothing(runs.join(', ')))
  process.exitCode = outcome.exitCode(flags.failOn, signal.aborted)
}

/**
 * What the watch would refuse, before the base is opened. With `--once` that is also runs of which none is there: nothing is
 * waited for, so only what an earlier watch has secured could still be measured.
 */
async function refuseBefore(
  runs: readonly string[],
  { stateDir, once }: { stateDir: string | undefined; once: boolean },
): Promise<void> {
  for (const run of runs) {
    if (!isPattern(run)) await refuseParent(run)
    else once = false
  }
  if (!once) return
  for (const run of runs) {
    const secured = stateDir !== undefined && (await exists((await runState(stateDir, run)).folder))
    if (secured || (await exists(run))) return
  }
  throw new TraitscopeError(
    'FILE_NOT_FOUND',
    `expected a run's folder at ${runs.join(', ')}, since --once waits for none, found nothing; check the path`,
  )
}

/** Brings a run that is taken up again to where earlier watches left it, which stands in no event of this one. */
async function recall(
  view: WatchView,
  stateDir: string,
  { run, seq }: LoggedEvent,
  output: Output,
): Promise<void> {
  try {
    const reader = new EventReader((await runState(stateDir, run)).folder)
    for (let events = await reader.next(); events.length > 0; events = await reader.next())
      for (const event of events) if (event.seq < seq) view.recall(event)
  } catch (error) {
    // It is watched all the same.
    output.remark(`what earlier watches measured of ${run} is not shown: ${messageOf(error)}`)
  }
}

/** While a view is drawn, what is said goes into it. */
function besideView(output: Output, view: () => WatchView | undefined): Output {
  const say = (kind: Saying) => (text: string) => {
    const drawn = view()
    if (drawn) drawn.hear(kind, text)
    else output[kind](text)
  }
  return { ...output, note: say('note'), error: say('error'), remark: say('remark') }
}

function niceness(text: string): number {
  const value = integer(text)
  if (value > 19) throw new InvalidArgumentError('expected a number from 0 to 19.')
  return value
}

export interface Watching {
  output: Output
  signal: AbortSignal
  take: (event: WatchEvent) => void
  /** Opens a view that shows events in place; absent where they go elsewhere. */
  show?: (() => WatchView) | undefined
  always: boolean
}

/** What a watch comes to. */
class Outcome {
  readonly #verdicts: VerdictKind[] = []
  readonly #failed = new Set<string>()
  readonly #alarms = new Map<string, boolean>()
  #measured = 0

  take(event: WatchEvent): void {
    const of = `${event.run ?? ''} ${'step' in event ? event.step : ''}`
    if (event.type === 'error' || event.type === 'lost') this.#failed.add(of)
    if (event.type === 'baseline' && event.resumed) {
      this.#measured += event.resumed.measured
      this.#alarms.set(event.run!, event.resumed.alarm === 'standing')
    }
    // Nothing comes any more: what the trainer has not finished by now stays unread.
    if (event.type === 'end' && (event.reason === 'once' || event.reason === 'idle'))
      for (const step of event.unfinished) this.#failed.add(`unfinished ${step}`)
    if (event.type !== 'checkpoint') return
    this.#measured++
    // A look or the base that failed has been mended.
    for (const about of [of, `${event.run} `, ' ']) this.#failed.delete(about)
    if (event.verdict) this.#verdicts.push(event.verdict.verdict)
    else if (marginReason(event.margin)) this.#verdicts.push('warn')
    if (event.alarm === 'cleared') this.#alarms.delete(event.run!)
  }

  /** Why nothing was measured, now or before. */
  get nothing(): ((runs: string) => string) | undefined {
    if (this.#measured > 0) return undefined
    return (runs) =>
      this.#failed.size > 0
        ? `no checkpoint of ${runs} could be measured: the errors say why`
        : `no checkpoint was measured: expected checkpoint-N folders in ${runs}, give the trainer's output folder and wait for one`
  }

  /** A checkpoint that could not be measured is no clean bill of health, and neither is a run without any. */
  exitCode(failOn: FailOn, isInterrupted: boolean): number {
    const standing: VerdictKind[] = [...this.#alarms.values()].some(Boolean) ? ['alarm'] : []
    const code = exitCodeOf([...this.#verdicts, ...standing], failOn)
    if (code !== 0) return code
    if (this.#failed.size > 0) return 1
    if (isInterrupted) return 130
    return this.#measured === 0 ? 1 : 0
  }
}
