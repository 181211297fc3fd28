import type { Conditions } from '../conditions/conditions.js'
import type { Directions } from '../directions/directions.js'
import { norm } from '../estimators/linalg.js'
import { isJsonObject } from '../formats/json/json.js'
import { isIndex, isNumbers } from '../formats/json/json-fields.js'
import { hiddenStates } from '../hidden-states/hidden-states.js'
import { KeptRecords } from '../labels/kept-records.js'
import { type PairPrompts, type PairReading, scorePairs } from '../labels/margins/pair-reading.js'
import type { Model } from '../model/model.js'
import { tokenHash } from '../prompts/prompt-tokens.js'
import type { BaseMeasurement } from './measurement.js'
import { floorOf, noisePrompts, readNoise, roundsNothing } from './noise-floor.js'
import type { PassOptions } from './passes.js'
import type { Projector } from './projector.js'
import type { Step0Cache } from './step0-cache.js'
import { step0Key } from './step0-key.js'
import type { NoiseFloor } from './trajectory.js'

type PairRecord = PairReading & { step: 0 }

/** Reads the bare base: what is in the cache, because the very same pass was made before, is not read again. */
export class Step0 {
  constructor(
    private readonly model: Model,
    private readonly conditions: Conditions,
    private readonly directions: Directions,
    private readonly projector: Projector,
    private readonly cache: Step0Cache | undefined,
  ) {}

  /** The states of prompts, projected. */
  async states(
    prompts: readonly Int32Array[],
    { signal, onProgress }: PassOptions,
  ): Promise<Omit<BaseMeasurement, 'contexts' | 'pairs'>> {
    const { layers } = this.directions
    const shape = [prompts.length, layers.length, this.directions.nEmbd]
    const key = this.#key('step-0', tokenHash(prompts), layers)
    const known = await this.cache?.get(key, shape)
    const read = async () => {
      const { pool } = this.conditions
      const { data, tokens } = await hiddenStates(this.model, prompts, { layers, pool, signal, onProgress })
      return { states: data, computedTokens: tokens.computed }
    }
    const { states, computedTokens } = known ?? (await read())
    if (!known) await this.cache?.put(key, shape, { states, computedTokens })
    return {
      states,
      layers: this.projector.layers(states),
      activationNorms: this.projector.norms(states),
      tokens: { total: prompts.reduce((sum, ids) => sum + ids.length, 0), computed: computedTokens },
      cached: known !== undefined,
    }
  }

  /** How probable the answers of pairs are. */
  async pairs(pairs: PairPrompts, options: PassOptions): Promise<PairReading> {
    const isRecord = (value: unknown) => isPairRecord(value, pairs.pairs.length)
    // The head is behind all blocks: which of them directions are made at changes nothing.
    const key = { key: this.#key('pairs', pairs.identity, []) }
    const cache = this.cache && new KeptRecords<PairRecord>(this.cache.folder, 'pairs0-', key, isRecord)
    const [known] = (await cache?.get()) ?? []
    const record = known ?? { step: 0, ...(await scorePairs({ model: this.model }, pairs, options)) }
    if (!known) await cache?.put(new Map([['0', record]]))
    options.onProgress?.(1)
    const { step: _, ...reading } = record
    return reading
  }

  /**
   * What rounding alone makes of a drift; null where nothing is rounded. A matter of the base, the prompts and the layers, not of
   * a run.
   */
  async noise(
    all: readonly Int32Array[],
    base: Pick<BaseMeasurement, 'states' | 'activationNorms'>,
    signal: AbortSignal | undefined,
  ): Promise<NoiseFloor | null> {
    const { model, projector } = this
    if (roundsNothing(model)) return null
    const { layers, nEmbd } = this.directions
    const prompts = noisePrompts(all)
    const shape = [prompts.length, layers.length, nEmbd]
    const key = this.#key('noise', tokenHash(prompts), layers)
    const known = await this.cache?.get(key, shape)
    const noise = known ?? (await readNoise(model, prompts, { layers, pool: this.conditions.pool, signal }))
    if (!known) await this.cache?.put(key, shape, noise)
    const sizes = layers.map((_, l) => {
      const { data, rows } = projector.rows(base.states, l)
      return { activationNorm: base.activationNorms[l]!, rms: norm(data) / Math.sqrt(rows) }
    })
    const along = layers.map((_, l) => projector.along(l))
    return floorOf(noise.states, layers, along, sizes, all.length)
  }

  #key(what: 'step-0' | 'noise' | 'pairs', read: string, layers: readonly number[]): string {
    return step0Key(what, read, this.model, this.conditions, layers)
  }
}

function isPairRecord(value: unknown, n: number): value is PairRecord {
  return (
    isJsonObject(value) &&
    value.step === 0 &&
    isNumbers(value.misaligned, n) &&
    isNumbers(value.aligned, n) &&
    isJsonObject(value.tokens) &&
    isIndex(value.tokens.total) &&
    isIndex(value.tokens.computed)
  )
}
