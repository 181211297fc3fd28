import type { AttachReport, GgufLoraOptions } from './lora/lora.js'

/** How to attach an adapter. */
export interface AttachOptions extends GgufLoraOptions {
  /** Factor on the adapter's effect; default 1, the adapter as trained. */
  strength?: number | undefined
}

/** A LoRA adapter in a model's memory, ready to be applied. Detach it to free the memory; closing the model does too. */
export class AttachedAdapter implements AsyncDisposable {
  readonly #release: () => Promise<void>
  #detached: Promise<void> | undefined
  /** The `Model` that it is attached to, and belongs to alone. */
  readonly model: object
  readonly id: number
  /** What was matched, module by module. */
  readonly report: AttachReport
  /** SHA-256 of the adapter's files: its identity, whatever its folder is called. */
  readonly sha256: string
  /** Factor on the adapter's effect; 1 is the adapter as trained. */
  readonly strength: number

  /** @internal */
  constructor(parts: {
    model: object
    id: number
    report: AttachReport
    sha256: string
    strength: number
    release: () => Promise<void>
  }) {
    this.model = parts.model
    this.id = parts.id
    this.report = parts.report
    this.sha256 = parts.sha256
    this.strength = parts.strength
    this.#release = parts.release
  }

  /** True once detach() was called. */
  get detached(): boolean {
    return this.#detached !== undefined
  }

  /** Frees the adapter; idempotent, waits for work in flight. */
  detach(): Promise<void> {
    this.#detached ??= this.#release()
    return this.#detached
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.detach()
  }
}
