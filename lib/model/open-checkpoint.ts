import { type PeftAdapter, readPeftAdapter } from '../formats/peft.js'
import type { AttachReport } from './lora.js'
import type { AttachedAdapter, Model } from './model.js'

/** A checkpoint on a base model, ready to be run. Dispose it to free what it took; the base stays open. */
export interface OpenCheckpoint extends AsyncDisposable {
  /** `attach`: the base with an adapter applied to it. */
  readonly how: 'attach'
  /** The model to run: the base, or one of the checkpoint's own. */
  readonly model: Model
  /** Pass it to every call on `model`. */
  readonly adapter?: AttachedAdapter
  /** Identity of the weights, whatever the folder is called. */
  readonly sha256: string
  readonly peft: PeftAdapter
  readonly report: AttachReport
}

/**
 * Reads a checkpoint's folder and makes it runnable on the base.
 *
 * @throws TraitscopeError as `readPeftAdapter` and `Model.attach`
 */
export async function openCheckpoint(base: Model, folder: string): Promise<OpenCheckpoint> {
  const peft = await readPeftAdapter(folder)
  const adapter = await base.attach(peft)
  return {
    how: 'attach',
    model: base,
    adapter,
    sha256: peft.sha256,
    peft,
    report: adapter.report,
    [Symbol.asyncDispose]: () => adapter.detach(),
  }
}
