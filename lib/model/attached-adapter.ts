import { Made, type OptionKinds } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import type { AttachReport, GgufLoraOptions } from './lora/lora.js'

/** How to attach an adapter. */
export interface AttachOptions extends Omit<GgufLoraOptions, 'readsUpTo'> {
  /** Factor on the adapter's effect; default 1, the adapter as trained. */
  strength?: number | undefined
}

export const ATTACH_OPTIONS: OptionKinds<AttachOptions> = {
  norms: 'boolean',
  residualBase: 'boolean',
  strength: 'number',
}

/** @throws TraitscopeError `USAGE` for a strength that is not finite */
export function checkStrength(strength: number): void {
  if (Number.isFinite(strength)) return
  throw new TraitscopeError('USAGE', `adapter strength must be a finite number, found ${strength}`)
}

interface AdapterParts {
  model: object
  id: number
  report: AttachReport
  sha256: string
  strength: number
  release: () => Promise<void>
}

/** A LoRA adapter in a model's memory, ready to be applied. Detach it to free the memory; closing the model does too. */
export class AttachedAdapter implements AsyncDisposable {
  /** Shared by all strengths of it. */
  readonly #memory: { release: () => Promise<void>; detached?: Promise<void> }
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
  constructor(parts: AdapterParts, memory?: AttachedAdapter) {
    this.model = parts.model
    this.id = parts.id
    this.report = parts.report
    this.sha256 = parts.sha256
    this.strength = parts.strength
    this.#memory = memory === undefined ? { release: parts.release } : memory.#memory
  }

  /** True once detach() was called. */
  get detached(): boolean {
    return this.#memory.detached !== undefined
  }

  /**
   * The same adapter, in the same memory, at another strength.
   *
   * @throws TraitscopeError `USAGE` for a strength that is not finite
   */
  at(strength: number): AttachedAdapter {
    checkStrength(strength)
    return new AttachedAdapter({ ...this, strength, release: () => this.detach() }, this)
  }

  /** Frees the adapter, at all its strengths; idempotent, waits for work in flight. */
  detach(): Promise<void> {
    this.#memory.detached ??= this.#memory.release()
    return this.#memory.detached
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.detach()
  }
}

export const ADAPTER = new Made<AttachedAdapter>('an adapter as attach() gives it', 'strength')
