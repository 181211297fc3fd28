/** What a watch prints for a person: a line per checkpoint on stdout, everything else on stderr. */
import { basename } from 'node:path'
import { marginReason } from '../lib/detector/margin-warning.js'
import type { CheckpointEvent, WatchEvent } from '../lib/events/watch-events.js'
import { fileFact } from '../lib/formats/run/file-fact.js'
import { marginText, pairsWords } from '../lib/labels/margins/margin-words.js'
import { noiseSentence } from '../lib/trajectory/noise-floor.js'
import { stepsText } from '../lib/trajectory/steps-text.js'
import type { Output } from './output.js'
import { counted, layersText, oneLine } from './text.js'
import { colorVerdict, READ_COLUMN, VERDICT_COLUMNS, verdictCells } from './verdicts.js'

/** Lines come one by one, so the widths are set by the names and by the longest interval; what is longer still stays apart. */
export function cells(texts: readonly string[], names: readonly string[]): string {
  return texts
    .map((text, i) => `  ${text.padStart(Math.max(WIDTHS[names[i]!] ?? 7, names[i]!.length))}`)
    .join('')
}

const WIDTHS: Record<string, number> = { interval: 11, margin: 25 }

const RUN_WIDTH = 20

/** Columns before the traits, where a narrow terminal shows them: with a bundle and without, with pairs of answers. */
const firstColumns = ({ margin, verdict }: { margin?: unknown; verdict?: unknown }) => [
  'loss',
  ...(verdict ? VERDICT_COLUMNS : ['verdict']),
  ...(margin ? ['margin'] : []),
  'length',
]

export class WatchText {
  #traits: readonly string[] | undefined
  #first: string | undefined
  #layers: readonly number[] = []
  /** Remarks and notes that were printed: every event has its own, a person reads each once. */
  readonly #said = new Set<string>()
  /** Of every run, why its last verdict is what it is: what held before is not said again. */
  readonly #reasons = new Map<string | undefined, readonly string[]>()

  /** @param several runs are watched, so that every line names its own */
  constructor(
    private readonly output: Output,
    private several: boolean,
  ) {}

  print(event: WatchEvent): void {
    switch (event.type) {
      case 'baseline':
        this.#baseline(event)
        return
      case 'checkpoint':
        this.#checkpoint(event)
        return
      case 'waiting':
        this.#note(
          event,
          event.step === undefined
            ? `waiting: ${event.reason}`
            : `waiting for step ${event.step}: ${event.reason}`,
        )
        return
      case 'skipped':
      case 'lost':
        this.#note(event, `step ${event.step} was ${event.type}: ${event.reason}`)
        return
      case 'unsecured':
        this.#note(event, `step ${event.step} is not secured: ${event.reason}`)
        return
      case 'gap': {
        const { after, before, every, count, reason } = event
        const what = count === 1 ? 'a checkpoint' : `${count} checkpoints`
        this.#note(
          event,
          `${what} between step ${after} and ${before} (every ${every}) nobody has seen: ${reason}`,
        )
        return
      }
      case 'falling-behind':
        this.#note(event, `falling behind: ${event.advice}`)
        return
      case 'revised':
        this.#note(event, `step ${event.step} is ${event.verdict.verdict} after revision: ${event.reason}`)
        return
      case 'error': {
        const at = event.step === undefined ? '' : ` at step ${event.step}`
        const again = event.retryMs === undefined ? '' : '; it is tried again'
        this.output.error(
          `${this.#of(event)}error${at}: ${event.error.message}${again} [${event.error.code}]`,
        )
        return
      }
      case 'end':
        this.#end(event)
    }
  }

  #baseline(event: Extract<WatchEvent, { type: 'baseline' }>): void {
    const { resumed } = event
    this.#first ??= event.run
    // A link that was named may come to lead to another run.
    if (!this.several && event.run !== this.#first) [this.several, this.#traits] = [true, undefined]
    if (this.#traits === undefined) {
      const from = event.cached ? 'from the cache' : `${event.tokens.computed} tokens`
      const { file, fingerprint } = event.base
      const base = `${oneLine(file)} ${fingerprint.slice(0, 12)}`
      this.output.note(`step 0 measured (${from}) of ${base}; ${layersText(event.layers)}`)
      if (event.noiseFloor) this.output.note(noiseSentence(event.noiseFloor))
      if (event.margin) this.output.note(`margin, in nats per token: ${pairsWords(event.margin)}`)
      this.#traits = event.traits
      this.#layers = event.layers
      const names = [...firstColumns(event), ...event.traits]
      this.output.print(`${this.#run('run')}${'step'.padEnd(6)}${cells(names, names)}  ${READ_COLUMN}`)
    }
    const { setAside } = event
    if (setAside !== undefined)
      this.#note(
        event,
        `${setAside} checkpoints were measured under other conditions (base, directions, prompts, contexts, pairs, detector) and count no more; those that are there are measured again`,
      )
    if (resumed) {
      const { measured, secured, alarm, lastEvent } = resumed
      const waiting = secured === 0 ? '' : `, ${secured} secured and not measured yet`
      const stands = alarm === 'standing' ? '; the alarm stands' : ''
      const text = `goes on where it stopped at ${lastEvent}: ${counted(measured, 'checkpoint')} known${waiting}${stands}`
      this.#note(event, text)
    } else if (this.several) this.#note(event, 'watched from now on')
  }

  #checkpoint(event: CheckpointEvent): void {
    const { values, norm } = event.drift[event.primary]!
    this.#once(`drift at layer ${this.#layers[event.primary]}, in units of the step-0 activation norm`)
    const reason = event.adapter?.merged
    if (reason) this.#note(event, `step ${event.step} was merged into a copy of the base: ${reason}`)
    const loss = event.loss === undefined ? '-' : event.loss.toFixed(4)
    const { verdict, margin } = event
    const first = [...(verdict ? verdictCells(verdict) : ['-']), ...(margin ? [marginText(margin)] : [])]
    const texts = [loss, ...first, norm.toFixed(4), ...values.map((value) => value.toFixed(4))]
    const names = [...firstColumns(event), ...this.#traits!]
    const name = this.#run(basename(event.run ?? ''))
    const line = `${name}${String(event.step).padEnd(6)}${cells(texts, names)}  ${oneLine(fileFact(event.files))}`
    this.output.print(colorVerdict(this.output, line))
    for (const remark of event.remarks) {
      if (this.#said.has(remark)) continue
      this.#said.add(remark)
      this.output.remark(`${this.#of(event)}step ${event.step}: ${remark}`)
    }
    if (event.alarm === 'raised' || event.alarm === 'cleared')
      this.#note(event, `step ${event.step}: alarm ${event.alarm}`)
    for (const what of verdict?.notLookedAt ?? []) {
      if (!this.#said.has(what)) this.#note(event, what)
      this.#said.add(what)
    }
    const reasons = verdict ? verdict.reasons : [marginReason(margin) ?? []].flat()
    const news = reasons.filter((reason) => !this.#reasons.get(event.run)?.includes(reason))
    this.#reasons.set(event.run, reasons)
    if (news.length > 0) this.#note(event, `step ${event.step}: ${news.join('; ')}`)
  }

  /** What holds for all checkpoints, beside the first of them. */
  #once(text: string): void {
    if (!this.#said.has(text)) this.output.note(text)
    this.#said.add(text)
  }

  #end(event: Extract<WatchEvent, { type: 'end' }>): void {
    const { reason, measured, lost, unfinished, finalAliasOf, prompts } = event
    this.output.note(
      `ended (${reason}): ${counted(measured, 'checkpoint')} measured` +
        (prompts ? `, by ${prompts.read} of ${prompts.of} prompts` : '') +
        (lost === 0 ? '' : `, ${lost} lost`) +
        (unfinished.length === 0 ? '' : `; not finished: step ${stepsText(unfinished)}`) +
        (finalAliasOf === undefined ? '' : `; the final adapter has the weights of step ${finalAliasOf}`),
    )
  }

  #note(event: WatchEvent, text: string): void {
    this.output.note(this.#of(event) + text)
  }

  #of({ run }: WatchEvent): string {
    return this.several && run !== undefined ? `${basename(run)}: ` : ''
  }

  #run(name: string): string {
    return this.several
      ? `${oneLine(name)
          .slice(0, RUN_WIDTH - 1)
          .padEnd(RUN_WIDTH)}`
      : ''
  }
}
