import type { TraitscopeError } from '../errors.js'
import type { CheckpointKind } from '../formats/run/checkpoint-folder.js'
import type { Step } from '../trajectory/trajectory.js'

/** A complete checkpoint as a look has found it. */
export interface SeenCheckpoint {
  step: Step
  /** Its own folder; of mlx-lm its tensor file. */
  folder: string
  /** Where the weights are. */
  path: string
  kind: CheckpointKind
  /** As `weightsStamp`. */
  stamp: string
  writtenMs?: number
  /** As of a `CheckpointEvent`. */
  emptySince?: string
  /** Why it cannot be measured, where that is known already. */
  fault?: TraitscopeError
  epoch?: number
  loss?: number
  learningRate?: number
}

/** What is known of a checkpoint from before, so that it need not be read. */
export type KnownCheckpoint = Pick<SeenCheckpoint, 'path' | 'kind' | 'stamp'>

/** What one look has found. */
export interface Look {
  /** Why there is nothing to measure; undefined once there is a checkpoint. */
  waiting?: string
  /** Complete ones that are new or have changed. */
  complete: SeenCheckpoint[]
  incomplete: { step: number; reason: string }[]
  /** What stands where a checkpoint should and cannot be read. */
  unreadable: { step: number; error: TraitscopeError }[]
  /** Steps that were there at the look before. */
  gone: number[]
  /** Folders of step 0. */
  zero: boolean
  /** Whether anything is another than at the look before. */
  changed: boolean
  /** Folders that have not been read yet: the next look goes on. */
  unread: number
  /** Steps of all folders that are there, ascending; undefined when they are those of the look before. */
  steps?: number[]
}
