import { realpath } from 'node:fs/promises'
import { isJsonObject } from '../formats/json/json.js'
import { isIndex, isText } from '../formats/json/json-fields.js'
import type { CheckpointScalars, RunSummary } from './run-summary.js'

/** What a trainer posts: something happened at this step. */
export interface CheckpointRequest {
  /** `on_save`, `on_evaluate`, `on_train_end` or `poll`. */
  event: string
  step: number
  checkpointDir: string | undefined
  outputDir: string
}

/** What it is answered, at once: nobody waits for a measurement. Post the same again to learn more. */
export interface CheckpointAnswer {
  /** `done`: the checkpoint of this step is measured. `queued`: it is not yet. `idle`: none was asked for. */
  status: 'done' | 'queued' | 'idle'
  step: number
  /** Of this step's checkpoint, once it is measured. */
  scalars: Record<string, number>
  /** The last checkpoints that were measured, whatever was asked. */
  checkpoints: readonly CheckpointScalars[]
  /** An alarm stands. */
  stop: boolean
  /** Since when, in seconds since 1970. */
  stop_time?: number
  reason?: string
  /** The last verdict is no clean one. */
  warn: boolean
  /** Checkpoints that wait. */
  backlog: number
}

/** @returns a sentence on what is wrong where it is no such request */
export function parseCheckpointRequest(json: unknown): CheckpointRequest | string {
  if (!isJsonObject(json)) return 'expected a JSON object {event, step, checkpoint_dir, output_dir}'
  const { event, step, checkpoint_dir: checkpointDir = null, output_dir: outputDir } = json
  if (!isText(event)) return "expected a text 'event', e.g. on_save"
  if (!isIndex(step)) return "expected a whole number 'step', 0 or more"
  if (!isText(outputDir)) return "expected the trainer's output folder as 'output_dir'"
  if (checkpointDir !== null && !isText(checkpointDir)) return "expected a path or null as 'checkpoint_dir'"
  return { event, step, checkpointDir: checkpointDir ?? undefined, outputDir }
}

/**
 * The run whose output folder it is. Nothing else is looked for: a path in a request names a run that is watched already, and
 * opens no other.
 */
export async function runOfRequest(
  { outputDir }: CheckpointRequest,
  runs: readonly RunSummary[],
): Promise<RunSummary | undefined> {
  const path = await realpath(outputDir).catch(() => outputDir)
  return runs.find(({ run }) => run === path)
}

export function answerOf({ event, step }: CheckpointRequest, summary: RunSummary): CheckpointAnswer {
  const { checkpoints, alarmSince, alarmMessage, isWarned, backlog } = summary
  const found = checkpoints.findLast((one) => one.step === step)
  return {
    status: found ? 'done' : event === 'on_save' ? 'queued' : 'idle',
    step,
    scalars: found?.scalars ?? {},
    checkpoints,
    stop: alarmSince !== undefined,
    ...(alarmSince !== undefined && { stop_time: alarmSince, reason: `${summary.run}: ${alarmMessage}` }),
    warn: isWarned,
    backlog,
  }
}
