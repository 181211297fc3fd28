import { setTimeout as sleep } from 'node:timers/promises'
import type { Bundle } from '../detector/bundle.js'
import { type RunVerdictOptions, RunVerdicts } from '../detector/run-verdicts.js'
import type { Directions } from '../directions/directions.js'
import { driftStep } from '../drift/drift.js'
import { isTraitscopeError, TraitscopeError, throwIfAborted } from '../errors.js'
import type { BaselineEvent, CheckpointEvent, EndEvent, WatchEvent } from '../events/watch-events.js'
import { errnoOf } from '../formats/files/file-errors.js'
import { isRotatedAway } from '../formats/run/checkpoint.js'
import { filesBelow } from '../formats/run/read-files.js'
import {
  isEmptyRun,
  listRuns,
  type RunFolder,
  refuseParent,
  type ScanOptions,
  scanRunFolder,
} from '../formats/run/run-folder.js'
import type { Model } from '../model/model.js'
import type { BaseMeasurement } from '../trajectory/measured.js'
import type { MeasurementPlan } from '../trajectory/measurement.js'
import { type MeasurementOptions, prepareMeasurement } from '../trajectory/prepare-measurement.js'
import type { Projection } from '../trajectory/project.js'
import type { NoiseFloor, Step } from '../trajectory/trajectory.js'
import { AlarmLatch } from './alarm-latch.js'
import { type PendingCheckpoint, RunLedger } from './run-ledger.js'
import { watchedUnder } from './watched-under.js'

/** How to watch, and when to end. */
export interface WatchRunOptions extends MeasurementOptions {
  /** Stops the watch: the last event is then `end` with reason `aborted`. */
  signal?: AbortSignal | undefined
  /** Time between two looks at the folder, in milliseconds; default 2000. */
  intervalMs?: number | undefined
  /** Look once, measure what is there, end. */
  once?: boolean | undefined
  /**
   * End with the first checkpoint of this step or a later one, also when it cannot be measured: the last step of the
   * training run, or the last one of interest. What comes after it is not looked at.
   */
  untilStep?: number | undefined
  /** End when nothing has changed for this long, in milliseconds. Default: watch until stopped. */
  idleMs?: number | undefined
  /** Give a verdict on every checkpoint by this bundle, whose directions must be the ones that are watched with. */
  bundle?: Bundle | undefined
  /** End at the first checkpoint whose verdict is an alarm. */
  endOnAlarm?: boolean | undefined
  /** Fraction done of the pass over step 0 or a checkpoint: 0 as soon as work on it begins, 1 when it ends, however. */
  onProgress?: ((step: Step, fraction: number) => void) | undefined
}

/** Errors that no other checkpoint could escape: the watch cannot go on. */
const FATAL = ['MODEL_CLOSED', 'BINDING', 'INTERNAL'] as const

/**
 * Watches a run's folder and measures every checkpoint once, as it is completed; weights that change under an
 * old name are measured again. The folder is only read, by looking at it every `intervalMs`, and may not
 * exist yet. Half-written checkpoints are waited for, vanished ones reported; a checkpoint that cannot be
 * measured is an `error` event and the watch goes on.
 *
 * @throws TraitscopeError before the first event when directions, model, pack and bundle do not belong
 * together (NOT_COMPARABLE), and when the model is closed under the watch
 */
export async function* watchRun(
  model: Model,
  directions: Directions,
  runDir: string,
  options: WatchRunOptions,
): AsyncGenerator<WatchEvent, void, undefined> {
  const { signal, intervalMs = 2000, once = false, untilStep, idleMs, bundle, endOnAlarm = false } = options
  checkDuration('intervalMs', intervalMs)
  if (idleMs !== undefined) checkDuration('idleMs', idleMs)
  const ledger = new RunLedger()
  const latch = new AlarmLatch()
  let measured = 0
  let found: RunFolder | undefined
  const end = (reason: EndEvent['reason']): EndEvent => {
    const aliasOf = found?.final?.aliasOf
    return {
      type: 'end',
      reason,
      measured,
      lost: 0,
      unfinished: [],
      ...(aliasOf === undefined ? {} : { finalAliasOf: aliasOf }),
    }
  }
  try {
    const layer = options.layer ?? bundle?.detector.mainLayer
    const plan = await prepareMeasurement(model, directions, { ...options, layer })
    // A folder that is refused is refused before the work.
    await look(runDir, { adapterName: options.adapterName, signal })
    const base = await plan.measureBase(passOptions(options, 0))
    options.onProgress?.(0, 1)
    const noiseFloor = await plan.measureNoise(base, { signal })
    const verdicts = bundle && verdictsOf(bundle, plan, base, { ...options, noiseFloor })
    yield baselineEvent(plan, base, noiseFloor, verdicts, bundle)
    let changedAt = performance.now()
    for (;;) {
      const before = stampsOf(found)
      found = await look(runDir, { adapterName: options.adapterName, previous: found, signal })
      // A file that grows is a change too, though no event tells of it.
      let changed = stampsOf(found) !== before
      for await (const event of visit({ plan, base, verdicts, latch, ledger, options }, found)) {
        yield event
        changed = true
        if (event.type === 'checkpoint') measured++
        if (endOnAlarm && event.type === 'checkpoint' && event.verdict?.verdict === 'alarm')
          return yield end('alarm')
        if (untilStep !== undefined && isPast(event, untilStep)) return yield end('until-step')
      }
      if (once) return yield end('once')
      // Only a look that found nothing counts, so that a slow measurement is never taken for idleness.
      if (changed) changedAt = performance.now()
      else if (idleMs !== undefined && performance.now() - changedAt >= idleMs) return yield end('idle')
      await sleep(intervalMs, undefined, signal ? { signal } : {})
    }
  } catch (error) {
    if (!signal?.aborted) throw error
    yield end('aborted')
  }
}

const stampsOf = (found: RunFolder | undefined) =>
  found && [...found.checkpoints, found.final].map((one) => one?.stamp).join()

/** Whether a checkpoint of this step or a later one has been dealt with. */
function isPast(event: WatchEvent, step: number): boolean {
  const settled = event.type === 'checkpoint' || event.type === 'error'
  return settled && typeof event.step === 'number' && event.step >= step
}

/**
 * One look; undefined while there is no such folder. A folder of several runs is refused: what comes into them would
 * never be seen from here.
 */
async function look(runDir: string, options: ScanOptions): Promise<RunFolder | undefined> {
  try {
    const found = await scanRunFolder(runDir, options)
    if (found.beside.some(({ kind }) => kind === 'run')) refuseParent(found)
    return found
  } catch (error) {
    const absent = isTraitscopeError(error, 'FILE_NOT_FOUND') && errnoOf(error.cause) !== 'ENOTDIR'
    if (absent || isTraitscopeError(error, 'FILE_VANISHED')) return undefined
    throw error
  }
}

/** What a watch carries from look to look. */
interface Watch {
  plan: MeasurementPlan
  base: BaseMeasurement
  verdicts: RunVerdicts | undefined
  latch: AlarmLatch
  ledger: RunLedger
  options: WatchRunOptions
}

/** Of one pass; what comes before it, such as a merge, counts as none of it yet. */
function passOptions({ signal, onProgress }: WatchRunOptions, step: Step) {
  onProgress?.(step, 0)
  return { signal, onProgress: onProgress && ((fraction: number) => onProgress(step, fraction)) }
}

/** Events of one look at the folder. */
async function* visit(
  watch: Watch,
  found: RunFolder | undefined,
): AsyncGenerator<WatchEvent, void, undefined> {
  const { ledger, options } = watch
  const reason = found ? whyEmpty(found) : 'the run folder does not exist yet'
  if (ledger.waitForRun(reason) && reason !== undefined) yield { type: 'waiting', reason }
  if (!found) return

  for (const { step, state, reason = 'it is still being written' } of found.checkpoints) {
    if (state === 'incomplete' && ledger.wait(step, reason)) yield { type: 'waiting', step, reason }
  }
  for (const step of ledger.takeVanished(found)) {
    yield { type: 'lost', step, reason: 'it disappeared before it was complete' }
  }
  for (const pending of ledger.pending(found)) {
    throwIfAborted(options.signal)
    const event = await inspect(watch, found, pending)
    if (event) yield event
  }
}

function whyEmpty(found: RunFolder): string | undefined {
  if (!isEmptyRun(found)) return undefined
  const { beside } = found
  return `there is no checkpoint yet${beside.length === 0 ? '' : `; not measured, since it is no part of this run: ${listRuns(beside)}`}`
}

async function inspect(
  watch: Watch,
  found: RunFolder,
  pending: PendingCheckpoint,
): Promise<WatchEvent | undefined> {
  const { ledger, options } = watch
  const { step, path } = pending
  try {
    if (pending.fault) throw pending.fault
    if (await ledger.isKnown(pending)) return undefined
    const event = await measurePending(watch, found, pending)
    ledger.settle(pending, event.adapterSha256)
    return event
  } catch (cause) {
    const error =
      cause instanceof TraitscopeError
        ? cause
        : new TraitscopeError('INTERNAL', `measuring ${path} failed unexpectedly`, { cause })
    if (options.signal?.aborted || FATAL.some((code) => code === error.code)) throw error
    if (error.code === 'FILE_INCOMPLETE') {
      return ledger.wait(step, error.message) ? { type: 'waiting', step, reason: error.message } : undefined
    }
    ledger.settle(pending, undefined)
    if (await isRotatedAway(error, path)) {
      return { type: 'lost', step, reason: error.message }
    }
    return { type: 'error', step, error }
  } finally {
    options.onProgress?.(step, 1)
  }
}

async function measurePending(
  { plan, base, verdicts, latch, ledger, options }: Watch,
  found: RunFolder,
  { step, path, kind, folder, epoch, loss }: PendingCheckpoint,
): Promise<CheckpointEvent> {
  const started = performance.now()
  const remeasured = ledger.wasMeasured(step)
  const measured = await plan.measureCheckpoint({ path, kind }, base, {
    ...passOptions(options, step),
    folders: [folder, found.path],
  })
  const { adapter, adapterSha256, layers, stateChange, tokens } = measured
  const driftOf = (layers: readonly Projection[]) =>
    layers.map(({ mean }, l) => driftStep(step, mean, base.layers[l]!.mean, base.activationNorms[l]!))
  const amplified = measured.strengths.map(({ strength, layers }) => ({
    strength,
    projections: meansOf(layers),
  }))
  return {
    type: 'checkpoint',
    step,
    path,
    adapterSha256,
    files: filesBelow(found.path, measured.files),
    remarks: [
      ...found.remarks,
      ...plan.remarks,
      ...ledger.sameWeights(step, adapterSha256),
      ...measured.remarks,
    ],
    ...(adapter ? { adapter } : {}),
    stateChange,
    remeasured,
    ...(epoch === undefined ? {} : { epoch }),
    ...(loss === undefined ? {} : { loss }),
    projections: layers,
    drift: driftOf(layers),
    ...(measured.strengths.length > 0 && {
      strengths: measured.strengths.map(({ strength, layers, stateChange }) => ({
        strength,
        projections: layers,
        drift: driftOf(layers),
        stateChange,
      })),
    }),
    primary: plan.primary,
    tokens,
    milliseconds: performance.now() - started,
    backlog: 0,
    ...(verdicts && verdictAndAlarm(verdicts, latch, step, meansOf(layers), base.activationNorms, amplified)),
  }
}

/** The verdict on a checkpoint, and where the run's alarm stands after it. */
function verdictAndAlarm(
  verdicts: RunVerdicts,
  latch: AlarmLatch,
  ...checkpoint: Parameters<RunVerdicts['verdict']>
): Required<Pick<CheckpointEvent, 'verdict' | 'alarm'>> {
  const verdict = verdicts.verdict(...checkpoint)
  return { verdict, alarm: latch.next(verdict) }
}

function verdictsOf(
  bundle: Bundle,
  { directions, measuredUnder }: MeasurementPlan,
  base: BaseMeasurement,
  { allowMismatch, noiseFloor }: RunVerdictOptions,
): RunVerdicts {
  if (directions.sha256 !== bundle.directions.sha256) {
    throw new TraitscopeError('USAGE', "watch with the bundle's own directions: bundle.directions")
  }
  const verdicts = new RunVerdicts(bundle, measuredUnder, meansOf(base.layers), { allowMismatch, noiseFloor })
  if (verdicts.refused.length > 0) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `${verdicts.refused.join('; ')}; calibrate for these conditions, or allow the mismatch (--allow-mismatch)`,
    )
  }
  return verdicts
}

const meansOf = (layers: readonly Projection[]): number[][] => layers.map(({ mean }) => mean)

function baselineEvent(
  plan: MeasurementPlan,
  base: BaseMeasurement,
  noiseFloor: NoiseFloor | null,
  verdicts: RunVerdicts | undefined,
  bundle: Bundle | undefined,
): BaselineEvent {
  const { layers, activationNorms, cached, tokens } = base
  return {
    type: 'baseline',
    traits: plan.directions.traits,
    layers: plan.directions.layers,
    projections: layers,
    activationNorms,
    cached,
    tokens,
    noiseFloor,
    conditions: watchedUnder(plan, bundle),
    ...(verdicts && { verdict: verdicts.verdict(0, meansOf(layers), activationNorms) }),
  }
}

function checkDuration(name: string, value: number): void {
  if (!(Number.isFinite(value) && value >= 0)) {
    throw new TraitscopeError('USAGE', `${name} must be a number of milliseconds, 0 or more, found ${value}`)
  }
}
