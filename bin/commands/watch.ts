import { Command, Option } from 'commander'
import type { VerdictKind } from '../../lib/detector/verdict.js'
import { type WatchEvent, watchEventJson } from '../../lib/events/watch-events.js'
import { fileFact } from '../../lib/formats/run/read-files.js'
import { watchRun } from '../../lib/monitor/watch-run.js'
import { noiseSentence } from '../../lib/trajectory/noise-floor.js'
import type { Step } from '../../lib/trajectory/trajectory.js'
import { type MeasurementFlags, measurementFromFlags } from '../measurement.js'
import {
  addDirectionOptions,
  addModelOptions,
  addOutputOptions,
  failOnOption,
  integer,
  seconds,
} from '../options.js'
import { createOutput, type Output, type ProgressLine } from '../output.js'
import { oneLine } from '../text.js'
import {
  colorVerdict,
  exitCodeOf,
  type FailOn,
  READ_COLUMN,
  VERDICT_COLUMNS,
  verdictCells,
} from '../verdicts.js'

interface Flags extends MeasurementFlags {
  interval: number
  once?: boolean
  untilStep?: number
  idle?: number
  exitOn?: 'alarm'
  failOn: FailOn
  jsonl?: boolean
  quiet?: boolean
}

/** `traitscope watch`: measures checkpoints as a trainer writes them. */
export function watchCommand(signal: AbortSignal): Command {
  const command = new Command('watch')
    .description('watch a run folder and measure every checkpoint as it is completed')
    .argument('<run>', "the trainer's output folder; it may not exist yet")
    .option('--interval <s>', 'seconds between two looks at the folder', seconds, 2)
    .option('--once', 'measure what is there and end')
    .option('--until-step <n>', 'end after this step, or the first one that is later', integer)
    .option('--idle <s>', 'end when nothing has changed for this many seconds', seconds)
    .addOption(new Option('--exit-on <verdict>', 'end at the first alarm').choices(['alarm']))
    .addOption(failOnOption())
    .option('--jsonl', 'one JSON object per event')
    .addHelpText(
      'after',
      `
The run's folder is only read. A checkpoint that is still being written is waited for. Drift is in units of the step-0
activation norm. With a bundle every checkpoint gets the predicted rate of emergent misalignment (EM), its interval and a
verdict; the watch goes on after an alarm unless --exit-on alarm. Exit codes: 3 for an alarm (see --fail-on), 4 when the
bundle was made for other conditions, 1 when a checkpoint could not be measured or there was none.

Example:
  $ traitscope watch -m base.gguf --bundle bundle --exit-on alarm out/
  $ traitscope watch -m base.gguf --directions directions out/`,
    )
  const shared = addOutputOptions(addDirectionOptions(addModelOptions(command)))
  return shared.action(async (run: string, flags: Flags & { json?: boolean }) => {
    const output = createOutput(flags)
    const events: WatchEvent[] = []
    const traits: string[] = []
    const said = new Set<string>()
    await using prepared = await measurementFromFlags(flags, output, signal)
    const { model, directions, bundle, options } = prepared
    using pass = new PassLine(output)
    const watch = watchRun(model, directions, run, {
      ...options,
      bundle,
      endOnAlarm: flags.exitOn === 'alarm',
      intervalMs: 1000 * flags.interval,
      once: flags.once === true,
      untilStep: flags.untilStep,
      idleMs: flags.idle === undefined ? undefined : 1000 * flags.idle,
      signal,
      onProgress: pass.update,
    })
    const failed = new Set<unknown>()
    let measured = 0
    const verdicts: VerdictKind[] = []
    for await (const event of watch) {
      if (event.type === 'error') failed.add(event.step)
      if (event.type === 'end') measured = event.measured
      if (event.type === 'checkpoint') {
        failed.delete(event.step)
        if (event.verdict) verdicts.push(event.verdict.verdict)
      }
      if (flags.json) events.push(event)
      else if (flags.jsonl) output.jsonLine(watchEventJson(event))
      else printEvent(output, event, traits, said)
    }
    if (flags.json) output.json(events.map(watchEventJson))
    process.exitCode = exitCodeOf(verdicts, flags.failOn)
    if (measured === 0 && !signal.aborted) {
      output.error(
        failed.size > 0
          ? `no checkpoint of ${run} could be measured: the errors say why`
          : `no checkpoint was measured: expected checkpoint-N folders in ${run}, give the trainer's output folder and wait for one`,
      )
    }
    // A checkpoint that could not be measured is no clean bill of health, and neither is a run without any.
    if ((failed.size > 0 || measured === 0) && process.exitCode === 0) process.exitCode = 1
    // The watch ends in order when it is interrupted; the exit code still says so.
    if (signal.aborted) process.exitCode = 130
  })
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

/** Lines come one by one, so the widths are set by the names. */
function cells(texts: readonly string[], names: readonly string[]): string {
  return texts.map((text, i) => text.padStart(2 + Math.max(7, names[i]!.length))).join('')
}

const FIRST = ['loss']
const LENGTH = ['length']
/** Verdict columns of a watch with a bundle and of one without. */
const lastColumns = (bundled: boolean) => [...LENGTH, ...(bundled ? VERDICT_COLUMNS : ['verdict'])]

/** @param said remarks that were printed: every event has its own, a person reads each once */
function printEvent(output: Output, event: WatchEvent, traits: string[], said: Set<string>): void {
  switch (event.type) {
    case 'baseline': {
      const from = event.cached ? 'from the cache' : `${event.tokens.computed} tokens`
      output.note(`step 0 measured (${from}); layer ${event.layers.join(', ')}`)
      if (event.noiseFloor) output.note(noiseSentence(event.noiseFloor))
      traits.push(...event.traits)
      const names = [...FIRST, ...traits, ...lastColumns(event.verdict !== undefined)]
      output.print(`${'step'.padEnd(6)}${cells(names, names)}  ${READ_COLUMN}`)
      return
    }
    case 'checkpoint': {
      const { values, norm } = event.drift[event.primary]!
      const reason = event.adapter?.merged
      if (reason) output.note(`step ${event.step} was merged into a copy of the base: ${reason}`)
      const loss = event.loss === undefined ? '-' : event.loss.toFixed(4)
      const { verdict } = event
      const last = verdict ? verdictCells(verdict) : ['-']
      const texts = [loss, ...values.map((value) => value.toFixed(4)), norm.toFixed(4), ...last]
      const names = [...FIRST, ...traits, ...lastColumns(verdict !== undefined)]
      const line = `${String(event.step).padEnd(6)}${cells(texts, names)}  ${oneLine(fileFact(event.files))}`
      output.print(colorVerdict(output, line))
      for (const remark of event.remarks) {
        if (said.has(remark)) continue
        said.add(remark)
        output.remark(`step ${event.step}: ${remark}`)
      }
      if (event.alarm === 'raised' || event.alarm === 'cleared')
        output.note(`step ${event.step}: alarm ${event.alarm}`)
      if (verdict && verdict.reasons.length > 0)
        output.note(`step ${event.step}: ${verdict.reasons.join('; ')}`)
      return
    }
    case 'waiting':
      output.note(
        event.step === undefined
          ? `waiting: ${event.reason}`
          : `waiting for step ${event.step}: ${event.reason}`,
      )
      return
    case 'skipped':
    case 'lost':
      output.note(`step ${event.step} was ${event.type}: ${event.reason}`)
      return
    case 'error':
      output.error(
        `error${event.step === undefined ? '' : ` at step ${event.step}`}: ${event.error.message} [${event.error.code}]`,
      )
      return
    case 'end':
      output.note(
        `ended (${event.reason}): ${event.measured} checkpoints measured` +
          (event.finalAliasOf === undefined
            ? ''
            : `; the final adapter has the weights of step ${event.finalAliasOf}`),
      )
  }
}
