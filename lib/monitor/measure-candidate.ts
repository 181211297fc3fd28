import { TraitscopeError } from '../errors.js'
import type { CheckpointEvent, WatchEvent } from '../events/watch-events.js'
import { hashCheckpoint } from '../formats/run/checkpoint-folder.js'
import { filesBelow } from '../formats/run/read-files.js'
import type { Step } from '../trajectory/trajectory.js'
import { CLEAR_SHARE } from './alarm-latch.js'
import type { Backoff } from './failures.js'
import type { Measurer } from './measurer.js'
import type { RunLook } from './run-look.js'
import type { RunMemory } from './run-memory.js'
import type { Secured } from './secured-files.js'
import type { SeenCheckpoint } from './seen-checkpoint.js'

/** A complete checkpoint that waits to be measured. */
export interface Candidate {
  readonly seen: SeenCheckpoint
  readonly secured: Secured | undefined
  readonly backoff: Backoff
}

/** What a pass needs beside the candidate. */
export interface PassOptions {
  signal: AbortSignal
  /** Checkpoints that wait behind this one. */
  backlog: () => number
  /** @throws when the base is another one than was opened */
  checkBase: () => Promise<void>
  onProgress?: ((step: Step, fraction: number) => void) | undefined
}

/** What came of a candidate: an event to tell, or nothing because its weights are known. */
export interface Outcome {
  event: WatchEvent | undefined
  /** The final weights are those of this step. */
  aliasOf?: number
}

/**
 * Measures a candidate, unless it is known. Its weights are hashed before and after: what was written anew meanwhile is read
 * again at the next look.
 *
 * @throws as `Measurer.measure`
 */
export async function measureCandidate(
  { seen, secured }: Candidate,
  { run, look, memory, measurer }: { run: string; look: RunLook; memory: RunMemory; measurer: Measurer },
  { signal, backlog, checkBase, onProgress }: PassOptions,
): Promise<Outcome> {
  const { step, path, kind, folder } = seen
  const started = performance.now()
  const known = await whatIsKnown(seen, secured, look, memory)
  if (known !== undefined) return known
  const remeasured = memory.sha256Of(step) !== undefined
  const weights = { path: secured?.path ?? path, kind, learningRate: seen.learningRate }
  await checkBase()
  onProgress?.(step, 0)
  const measured = await measurer.measure(step, weights, {
    signal,
    onProgress: onProgress && ((fraction) => onProgress(step, fraction)),
    folders: [folder, run],
    // An alarm that stands is cleared by rates well below the threshold alone: that has to be settled then.
    ...(memory.alarm === 'standing' && { below: CLEAR_SHARE }),
  })
  await checkBase()
  const { told, files, remarks } = measured
  const { verdict, adapterSha256 } = told
  if (secured && adapterSha256 !== secured.adapterSha256) {
    look.forget(step)
    return { event: { type: 'lost', step, reason: IN_PLACE, adapterSha256: secured.adapterSha256 } }
  }
  const changed = kind === 'adapter' && (await holdsOther(path, adapterSha256))
  if (changed) look.forget(step)
  const event: CheckpointEvent = {
    ...{ type: 'checkpoint', step, path, ...told },
    files: filesBelow(
      run,
      files.map((file) => ({ ...file, path: file.path.replace(weights.path, path) })),
    ),
    remarks: [
      ...look.remarks,
      ...measurer.plan.remarks,
      ...memory.sameWeights(step, adapterSha256),
      ...memory.anew(step),
      ...remarks,
    ],
    remeasured,
    ...progressOf(seen),
    ...(changed || seen.stamp === '' ? {} : { stamp: seen.stamp }),
    milliseconds: performance.now() - started,
    backlog: backlog(),
    ...(verdict && { alarm: memory.alarmAfter(step, verdict) }),
  }
  return { event }
}

/** A link is a second name of the trainer's file: what it holds now is another candidate. */
export const IN_PLACE = 'its file was written anew in place before its turn: --secure copy keeps such weights'

/** What there is to say of weights that need not be measured; undefined when they must be. */
async function whatIsKnown(
  seen: SeenCheckpoint,
  secured: Secured | undefined,
  look: RunLook,
  memory: RunMemory,
): Promise<Outcome | undefined> {
  const { step, path } = seen
  const before = memory.sha256Of(step)
  if (step !== 'final' && before === undefined) return undefined
  const sha256 = secured?.adapterSha256 ?? (await hashCheckpoint(path))
  if (sha256 === before) {
    // Files that were only touched, or copied over themselves.
    memory.note(step, seen)
    return { event: undefined }
  }
  if (step !== 'final') return undefined
  const aliasOf = memory.stepsOf(sha256).at(-1)
  if (aliasOf !== undefined) return { event: undefined, aliasOf }
  if (!(await look.isStale(seen))) return undefined
  const reason =
    'the final weights are older than the last checkpoint and those of no checkpoint: an earlier run has left them'
  return { event: { type: 'skipped', step, reason } }
}

/** Whether the files hold other weights than those that were read; when they are gone, they do not. */
function holdsOther(path: string, sha256: string): Promise<boolean> {
  return hashCheckpoint(path).then(
    (now) => now !== sha256,
    () => false,
  )
}

/** What events say of how far the run was. */
export function progressOf({ epoch, loss, writtenMs, emptySince }: SeenCheckpoint) {
  return {
    ...(epoch === undefined ? {} : { epoch }),
    ...(loss === undefined ? {} : { loss }),
    ...(writtenMs === undefined ? {} : { writtenAt: new Date(writtenMs).toISOString() }),
    ...(emptySince === undefined ? {} : { emptySince }),
  }
}

/** With the trainer's path in place of ours. */
export function named(error: TraitscopeError, { seen, secured }: Candidate): TraitscopeError {
  if (secured === undefined || !error.message.includes(secured.path)) return error
  return new TraitscopeError(error.code, error.message.replaceAll(secured.path, seen.path), { cause: error })
}
