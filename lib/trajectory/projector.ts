import type { Directions } from '../directions/directions.js'
import type { Matrix } from '../estimators/matrix.js'
import { layerRows } from '../hidden-states/layer-rows.js'
import type { BaseMeasurement } from './measurement.js'
import { activationNorm, type Projection, project, projectGroups } from './project.js'
import { relativeChange } from './relative-change.js'

/** Projects states of any number of prompts, `[nPrompts, nLayers, nEmbd]`, on directions at all their layers. */
export class Projector {
  readonly #layers: readonly number[]

  constructor(private readonly directions: Pick<Directions, 'layers' | 'traits' | 'nEmbd' | 'vectors'>) {
    this.#layers = [...directions.layers.keys()]
  }

  /** Numbers that are read of one prompt. */
  get size(): number {
    return this.#layers.length * this.directions.nEmbd
  }

  /** Directions of one layer, shape `[nTraits, nEmbd]`. */
  along(layer: number): Matrix {
    const { traits, nEmbd, vectors } = this.directions
    const size = traits.length * nEmbd
    return { data: vectors.subarray(layer * size, (layer + 1) * size), rows: traits.length, cols: nEmbd }
  }

  /** States of one layer, shape `[nPrompts, nEmbd]`. */
  rows(states: Float32Array, layer: number): Matrix {
    const shape: [number, number, number] = [
      states.length / this.size,
      this.#layers.length,
      this.directions.nEmbd,
    ]
    return layerRows({ data: states, shape }, layer)
  }

  layers(states: Float32Array): Projection[] {
    return this.#layers.map((l) => project(this.rows(states, l), this.along(l)))
  }

  /** Per layer N. */
  norms(states: Float32Array): number[] {
    return this.#layers.map((l) => activationNorm(this.rows(states, l)))
  }

  /** Per layer and group of prompts that follow each other the mean projections, in trait order. */
  groups(states: Float32Array, sizes: readonly number[]): number[][][] {
    return this.#layers.map((l) => projectGroups(this.rows(states, l), this.along(l), sizes))
  }

  /** Per layer ‖H − H₀‖ / ‖H₀‖. */
  stateChange(states: Float32Array, before: Float32Array): number[] {
    return this.#layers.map((l) => relativeChange(this.rows(states, l), this.rows(before, l)))
  }

  /** Of every prompt its drift, layers side by side. */
  drifts(states: Float32Array, before: Float32Array, { activationNorms }: BaseMeasurement): number[][] {
    const ones = new Array<number>(states.length / this.size).fill(1)
    const [now, then] = [this.groups(states, ones), this.groups(before, ones)]
    const of = (l: number, p: number) =>
      now[l]![p]!.map((value, t) => (value - then[l]![p]![t]!) / activationNorms[l]!)
    return ones.map((_, p) => this.#layers.flatMap((l) => of(l, p)))
  }

  /** What a part of the prompts changed, on top of what all of them were at step 0; the spread is that of the part. */
  change(states: Float32Array, before: Float32Array, base: BaseMeasurement): Projection[] {
    const then = this.layers(before)
    return this.layers(states).map(({ mean, std }, l) => ({
      mean: mean.map((value, t) => base.layers[l]!.mean[t]! + value - then[l]!.mean[t]!),
      std,
    }))
  }
}
