import type { OptionKinds } from '../../arguments.js'
import type { FileHash } from '../../formats/files/hash.js'
import type { PeftAdapter } from '../../formats/peft/peft.js'
import type { AttachedAdapter } from '../attached-adapter.js'
import type { AttachReport } from '../lora/lora.js'
import type { Model } from '../model.js'

/** A checkpoint on a base model, ready to be run. Dispose it to free what it took; the base stays open. */
export interface OpenCheckpoint extends AsyncDisposable {
  /**
   * `attach`: the base with an adapter applied to it. `merge`: a copy of the base with the adapter merged into it.
   * `convert`: a whole fine-tuned model. The last two are opened beside the base.
   */
  readonly how: 'attach' | 'merge' | 'convert'
  /** Why an adapter is merged, as half a sentence. */
  readonly reason?: string
  /** The model to run: the base, or one of the checkpoint's own. */
  readonly model: Model
  /** Pass it to every call on `model`. */
  readonly adapter?: AttachedAdapter
  /** Identity of the weights, whatever the folder is called. */
  readonly sha256: string
  /** What was read. */
  readonly files: readonly FileHash[]
  /** What was left out or differs, in sentences. */
  readonly remarks: readonly string[]
  /** Absent for a whole model. */
  readonly peft?: PeftAdapter
  readonly report?: AttachReport
}

/**
 * How adapters meet the base: `attach` beside its weights, which costs nothing and refuses what llama.cpp cannot apply;
 * `merge` into a copy of the base; `auto`: attached where that is exact, merged otherwise.
 */
export type LoraMode = 'attach' | 'merge' | 'auto'

/** What holds for all checkpoints of a run alike. */
export interface CheckpointOptions {
  /** Default `auto`. */
  mode?: LoraMode | undefined
  /** The base is what the adapters' initialisation (PiSSA and the like) left of the original one. */
  residualBase?: boolean | undefined
  /** Largest size of all merged models that are kept, in bytes; default 20 GiB. */
  cacheBytes?: number | undefined
}

export const CHECKPOINT_OPTIONS: OptionKinds<CheckpointOptions> = {
  mode: ['attach', 'merge', 'auto'],
  residualBase: 'boolean',
  cacheBytes: 'number',
}

/** How to open one checkpoint. */
export interface OpenCheckpointOptions extends CheckpointOptions {
  /** The adapter to take where a path leads to several, by PEFT's name. */
  adapterName?: string | undefined
  /** Factor on an adapter's effect, default 1. */
  strength?: number | undefined
  /**
   * Folder for GGUF files of the base's size: merged ones are kept there, converted ones removed. Default: the system's
   * temporary folder, where nothing is kept.
   */
  cacheDir?: string | undefined
  signal?: AbortSignal | undefined
}

export const OPEN_CHECKPOINT_OPTIONS: OptionKinds<OpenCheckpointOptions> = {
  ...CHECKPOINT_OPTIONS,
  adapterName: 'string',
  strength: 'number',
  cacheDir: 'path',
  signal: 'signal',
}
