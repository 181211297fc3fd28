import { checkMade } from '../arguments.js'
import type { Directions } from '../directions/directions.js'
import { isTraitscopeError, TraitscopeError } from '../errors.js'
import { MODEL, type Model } from '../model/model.js'
import { prepareMeasurement } from '../trajectory/prepare-measurement.js'
import { BaseFile } from './base-file.js'
import { Measurer } from './measurer.js'
import type { WatchRunOptions } from './watch-options.js'
import { watchedUnder } from './watched-under.js'

/** The base of a watch, which gives its memory back while there is nothing to measure, where that is asked for. */
export class ModelKeeper {
  #model: Model
  #measurer: Measurer
  #base: BaseFile
  #isOpen = true
  #usedMs = performance.now()
  #closing: Promise<void> = Promise.resolve()

  private constructor(
    private readonly directions: Directions,
    private readonly options: WatchRunOptions,
    parts: { model: Model; measurer: Measurer; base: BaseFile },
  ) {
    this.#model = parts.model
    this.#measurer = parts.measurer
    this.#base = parts.base
  }

  /**
   * @param before called when all is known to belong together, with the conditions, and before the work
   * @throws TraitscopeError as `prepareMeasurement`, `measureBase` and `Measurer`
   */
  static async open(
    model: Model,
    directions: Directions,
    options: WatchRunOptions,
    { signal, before }: { signal: AbortSignal; before: (conditions: string) => Promise<void> },
  ): Promise<ModelKeeper> {
    const { onProgress } = options
    const plan = await planOf(model, directions, options)
    const base = await BaseFile.of(model)
    await before(watchedUnder(plan, options))
    onProgress?.(0, 0)
    const step0 = await plan.measureBase({
      signal,
      onProgress: onProgress && ((fraction) => onProgress(0, fraction)),
    })
    onProgress?.(0, 1)
    const noiseFloor = await plan.measureNoise(step0, { signal })
    const measurer = new Measurer(plan, step0, noiseFloor, options)
    return new ModelKeeper(directions, options, { model, measurer, base })
  }

  /** What knows of step 0; to measure with it, ask for {@link ready}. */
  get measurer(): Measurer {
    return this.#measurer
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  get path(): string {
    return this.#model.path
  }

  /** Opens the base again where it was closed. @throws TraitscopeError as `reopen`; FILE_INVALID for another base */
  async ready(): Promise<Measurer> {
    this.#usedMs = performance.now()
    if (this.#isOpen) return this.#measurer
    await this.#closing
    const { fingerprint } = this.#model
    const model = await reopened(this.options.reopen!)
    try {
      if (model.fingerprint !== fingerprint) {
        throw new TraitscopeError(
          'FILE_INVALID',
          `expected the base ${model.path} to stay as it was opened, found another one; end the watch and begin anew`,
        )
      }
      this.#measurer = this.#measurer.with(await planOf(model, this.directions, this.options))
      this.#base = await BaseFile.of(model)
    } catch (error) {
      await model.close()
      throw error
    }
    this.#model = model
    this.#isOpen = true
    return this.#measurer
  }

  /** @throws TraitscopeError when the file is another one than was opened */
  checkBase(): Promise<void> {
    return this.#base.check()
  }

  /** Called while nothing waits: closes the base when that has been so for long enough. */
  async rest(): Promise<void> {
    const { idleUnloadMs, reopen } = this.options
    if (idleUnloadMs === undefined || !reopen || !this.#isOpen) return
    if (performance.now() - this.#usedMs < idleUnloadMs) return
    this.#isOpen = false
    this.#closing = this.#model.close()
    await this.#closing
  }

  /** What was opened again is closed; what the caller has opened is the caller's. */
  async close(given: Model): Promise<void> {
    await this.#closing
    if (this.#model !== given) await this.#model.close()
  }
}

function planOf(model: Model, directions: Directions, options: WatchRunOptions) {
  const layer = options.layer ?? options.bundle?.detector.mainLayer
  const margin = options.margin ?? options.bundle?.pairs
  return prepareMeasurement(model, directions, { ...options, layer, margin })
}

/** What the caller opens, and how that fails, is the caller's: no bug of ours. */
async function reopened(reopen: () => Promise<Model>): Promise<Model> {
  try {
    const model = await reopen()
    checkMade(model, MODEL)
    return model
  } catch (cause) {
    if (isTraitscopeError(cause)) throw cause
    throw new TraitscopeError('MODEL_LOAD', `reopen() could not open the base again: ${String(cause)}`, {
      cause,
    })
  }
}
