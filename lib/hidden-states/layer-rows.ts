import type { Matrix } from '../estimators/matrix.js'
import type { HiddenStates } from './hidden-states.js'

/** The rows of one layer of hidden states, shape `[nRows, nEmbd]`; `index` counts along the layer axis. */
export function layerRows({ data, shape }: Pick<HiddenStates, 'data' | 'shape'>, index: number): Matrix {
  const [rows, nLayers, cols] = shape
  if (nLayers === 1) return { data, rows, cols }
  const layer = new Float32Array(rows * cols)
  for (let r = 0; r < rows; r++) {
    const at = (r * nLayers + index) * cols
    layer.set(data.subarray(at, at + cols), r * cols)
  }
  return { data: layer, rows, cols }
}
