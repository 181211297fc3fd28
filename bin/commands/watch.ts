import { Command, Option } from 'commander'
import type { VerdictKind } from '../../lib/detector/verdict.js'
import { asTraitscopeError } from '../../lib/errors.js'
import { type EndReason, type WatchEvent, watchEventJson } from '../../lib/events/watch-events.js'
import { defaultStateDir } from '../../lib/formats/files/cache-dir.js'
import { isPattern } from '../../lib/monitor/run-patterns.js'
import type { SecureMode } from '../../lib/monitor/secured-files.js'
import { watchRuns } from '../../lib/monitor/watch-run.js'
import type { Step } from '../../lib/trajectory/trajectory.js'
import { type MeasurementFlags, measurementFromFlags } from '../measurement.js'
import {
  addDirectionOptions,
  addModelOptions,
  addOutputOptions,
  failOnOption,
  integer,
  option,
  seconds,
} from '../options.js'
import { createOutput, type Output, type ProgressLine } from '../output.js'
import { exitCodeOf, type FailOn } from '../verdicts.js'
import { WatchText } from '../watch-text.js'

interface Flags extends MeasurementFlags {
  interval: number
  once?: boolean
  untilStep?: number
  idle?: number
  exitOn?: 'alarm'
  state: string | false
  secure: SecureMode
  order?: 'newest' | 'oldest'
  failOn: FailOn
  jsonl?: boolean
  quiet?: boolean
}

/** `traitscope watch`: measures checkpoints as a trainer writes them. */
export function watchCommand(signal: AbortSignal): Command {
  const command = new Command('watch')
    .description('watch run folders and measure every checkpoint as it is completed')
    .argument(
      '<run...>',
      "trainers' output folders; they may not exist yet, and 'runs/*' (in quotes) takes in new ones as they appear",
    )
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
    .option('--jsonl', 'one JSON object per event')
    .addHelpText(
      'after',
      `
The runs' folders are only read. A checkpoint that is still being written is waited for. Drift is in units of the step-0
activation norm. With a bundle every checkpoint gets the predicted rate of emergent misalignment (EM), its interval and a
verdict; the watch goes on after an alarm unless --exit-on alarm. A watch that begins anew goes on where it stopped: what is
measured already is not measured twice, and an alarm still stands.

Exit codes, the first that applies: 3 for an alarm (see --fail-on), 4 when the bundle was made for other conditions, 1 when
a checkpoint could not be measured or was lost, or when there was none, 130 when it was interrupted.

Example:
  $ traitscope watch -m base.gguf --bundle bundle --exit-on alarm out/
  $ traitscope watch -m base.gguf --bundle bundle 'runs/*'
  $ traitscope watch -m base.gguf --directions directions out/`,
    )
  const shared = addOutputOptions(addDirectionOptions(addModelOptions(command)))
  return shared.action(async (runs: string[], flags: Flags & { json?: boolean }) => {
    const output = createOutput(flags)
    const text = new WatchText(output, runs.length > 1 || runs.some(isPattern))
    const events: WatchEvent[] = []
    const outcome = new Outcome()
    const take = (event: WatchEvent) => {
      outcome.take(event)
      if (flags.json) events.push(event)
      else if (flags.jsonl) output.jsonLine(watchEventJson(event))
      else text.print(event)
    }
    try {
      await using prepared = await measurementFromFlags(flags, output, signal)
      const { model, directions, bundle, prior, options } = prepared
      using pass = new PassLine(output)
      const watch = watchRuns(model, directions, runs, {
        ...options,
        bundle,
        prior,
        endOnAlarm: flags.exitOn === 'alarm',
        intervalMs: 1000 * flags.interval,
        once: flags.once === true,
        untilStep: flags.untilStep,
        idleMs: flags.idle === undefined ? undefined : 1000 * flags.idle,
        stateDir: flags.state === false ? undefined : flags.state,
        secure: flags.secure,
        order: flags.order,
        signal,
        onProgress: pass.update,
      })
      for await (const event of watch) take(event)
    } catch (cause) {
      if (!flags.json && !flags.jsonl) throw cause
      // Whoever reads events gets an error and an end, whenever it happens.
      const time = new Date().toISOString()
      const error = asTraitscopeError(cause, 'the watch')
      const reason: EndReason = signal.aborted ? 'aborted' : 'failed'
      if (!signal.aborted) take({ type: 'error', time, error })
      take({ type: 'end', time, reason, measured: 0, lost: 0, unfinished: [] })
      if (flags.json) output.json(events.map(watchEventJson))
      throw cause
    }
    if (flags.json) output.json(events.map(watchEventJson))
    const nothing = outcome.nothing
    if (nothing !== undefined && !signal.aborted) output.error(nothing(runs.join(', ')))
    process.exitCode = outcome.exitCode(flags.failOn, signal.aborted)
  })
}

/** What a watch comes to. */
class Outcome {
  readonly #verdicts: VerdictKind[] = []
  readonly #failed = new Set<string>()
  readonly #alarms = new Map<string, boolean>()
  #measured = 0

  take(event: WatchEvent): void {
    const of = `${event.run} ${'step' in event ? event.step : ''}`
    if (event.type === 'error' || event.type === 'lost') this.#failed.add(of)
    if (event.type === 'baseline' && event.resumed) {
      this.#measured += event.resumed.measured
      this.#alarms.set(event.run!, event.resumed.alarm === 'standing')
    }
    if (event.type !== 'checkpoint') return
    this.#measured++
    // A look or the base that failed has been mended.
    for (const about of [of, `${event.run} `]) this.#failed.delete(about)
    if (event.verdict) this.#verdicts.push(event.verdict.verdict)
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

/** How far the pass over a checkpoint is, between the lines of two of them. */
class PassLine implements Disposable {
  #line: ProgressLine | undefined

  constructor(private readonly output: Output) {}

  readonly update = (step: Step, fraction: number): void => {
    if (fraction < 1) {
      this.#line ??= this.output.progress(`measuring step ${step}`, { announce: false })
      this.#line.update(fraction)
    } else this[Symbol.dispose]()
  };

  [Symbol.dispose](): void {
    this.#line?.done()
    this.#line = undefined
  }
}
