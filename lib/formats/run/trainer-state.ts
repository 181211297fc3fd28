import { TraitscopeError } from '../../errors.js'
import type { MissingMeans } from '../files/file-errors.js'
import { isJsonObject, readJsonFile } from '../json/json.js'

export const TRAINER_STATE = 'trainer_state.json'

/** One logged step. A diverged run logs NaN or Infinity, and so do these numbers. */
export interface LogEntry {
  readonly step: number
  readonly epoch?: number
  readonly loss?: number
  readonly evalLoss?: number
  readonly gradNorm?: number
  readonly learningRate?: number
}

/** What the Hugging Face trainer's trainer_state.json says; every field is optional in the wild. */
export interface TrainerState {
  readonly globalStep?: number
  readonly epoch?: number
  /** Steps from one checkpoint to the next, where the trainer saves by steps. */
  readonly saveSteps?: number
  readonly maxSteps?: number
  /** Path of the best checkpoint as the trainer saw it. */
  readonly bestModelCheckpoint?: string
  /** Ascending steps; entries of one step are joined. */
  readonly logHistory: readonly LogEntry[]
}

/**
 * Reads trainer_state.json, tolerant of the bare NaN and Infinity that Python writes.
 *
 * @throws FILE_NOT_FOUND, FILE_VANISHED, FILE_INVALID (also while the trainer is still writing it).
 */
export async function readTrainerState(
  path: string,
  missing: MissingMeans = 'absent',
): Promise<TrainerState> {
  const json = await readJsonFile(path, missing)
  if (!isJsonObject(json)) throw new TraitscopeError('FILE_INVALID', `expected ${path} to hold a JSON object`)
  return parseTrainerState(json)
}

/** Fields of the wrong type are treated as absent: training has no need of them, and neither have we. */
export function parseTrainerState(json: Readonly<Record<string, unknown>>): TrainerState {
  const { global_step: step, epoch, best_model_checkpoint: best, log_history: history } = json
  const { save_steps: saveSteps, max_steps: maxSteps } = json
  return {
    ...(isStep(step) ? { globalStep: step } : {}),
    ...(typeof epoch === 'number' ? { epoch } : {}),
    ...(isStep(saveSteps) && saveSteps > 0 ? { saveSteps } : {}),
    ...(isStep(maxSteps) && maxSteps > 0 ? { maxSteps } : {}),
    ...(typeof best === 'string' ? { bestModelCheckpoint: best } : {}),
    logHistory: Array.isArray(history) ? parseLog(history) : [],
  }
}

/** The last training loss logged at or before a step. */
export function lossAt(log: readonly LogEntry[], step: number): number | undefined {
  return log.findLast((entry) => entry.step <= step && entry.loss !== undefined)?.loss
}

/** The highest learning rate logged at or before a step. */
export function highestLearningRate(log: readonly LogEntry[], step: number): number | undefined {
  let highest: number | undefined
  for (const { step: at, learningRate } of log) {
    if (at <= step && learningRate !== undefined) highest = Math.max(highest ?? learningRate, learningRate)
  }
  return highest
}

function parseLog(history: readonly unknown[]): LogEntry[] {
  const bySteps = new Map<number, LogEntry>()
  for (const item of history) {
    if (!isJsonObject(item) || !isStep(item.step)) continue
    const entry: LogEntry = {
      ...(bySteps.get(item.step) ?? { step: item.step }),
      ...(typeof item.epoch === 'number' ? { epoch: item.epoch } : {}),
      ...(typeof item.loss === 'number' ? { loss: item.loss } : {}),
      ...(typeof item.eval_loss === 'number' ? { evalLoss: item.eval_loss } : {}),
      ...(typeof item.grad_norm === 'number' ? { gradNorm: item.grad_norm } : {}),
      ...(typeof item.learning_rate === 'number' ? { learningRate: item.learning_rate } : {}),
    }
    bySteps.set(item.step, entry)
  }
  return [...bySteps.values()].sort((a, b) => a.step - b.step)
}

function isStep(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
