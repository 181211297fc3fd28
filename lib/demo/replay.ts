import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { throwIfAborted } from '../errors.js'
import { fileError } from '../formats/files/file-errors.js'
import { ADAPTER_TENSORS } from '../formats/peft/peft.js'
import type { Checkpoint } from '../formats/run/checkpoint.js'
import { TRAINER_STATE } from '../formats/run/trainer-state.js'

export interface ReplayOptions {
  /** Milliseconds from one checkpoint to the next; 0 writes them as fast as the disk takes them. */
  paceMs: number
  signal?: AbortSignal | undefined
}

/** Shares of the pace: training, weights half written, weights there but no trainer_state.json. */
const TRAINING = 0.6
const HALF_WRITTEN = 0.2
const UNFINISHED = 0.2

/**
 * Writes the checkpoints of a finished run into `target` one after another, the way a trainer does: the folder
 * first, then the weights bit by bit, then the configuration and the rest, `trainer_state.json` last. Whoever
 * watches the folder sees every half-written state that a real run shows.
 *
 * Stopping it leaves what a killed trainer leaves; the folder is the caller's to remove.
 *
 * @param checkpoints complete ones, in the order to write them
 * @throws TraitscopeError ABORTED; FILE_NOT_FOUND and the like of the folder that cannot be read or written
 */
export async function replayRun(
  checkpoints: readonly Checkpoint[],
  target: string,
  { paceMs, signal }: ReplayOptions,
): Promise<void> {
  const pause = async (share: number) => {
    await sleep(share * paceMs, undefined, signal ? { signal } : {}).catch(() => throwIfAborted(signal))
  }
  for (const { path, step } of checkpoints) {
    await pause(TRAINING)
    try {
      await writeCheckpoint(path, join(target, `checkpoint-${step}`), pause)
    } catch (error) {
      throw fileError(error, path)
    }
  }
}

async function writeCheckpoint(
  from: string,
  to: string,
  pause: (share: number) => Promise<void>,
): Promise<void> {
  const names = await readdir(from)
  const weights = await readFile(join(from, ADAPTER_TENSORS))
  await mkdir(to, { recursive: true })
  await writeFile(join(to, ADAPTER_TENSORS), weights.subarray(0, weights.length >> 1))
  await pause(HALF_WRITTEN)
  await writeFile(join(to, ADAPTER_TENSORS), weights)
  for (const name of names) {
    if (name !== ADAPTER_TENSORS && name !== TRAINER_STATE) await copyFile(join(from, name), join(to, name))
  }
  await pause(UNFINISHED)
  await copyFile(join(from, TRAINER_STATE), join(to, TRAINER_STATE))
}
