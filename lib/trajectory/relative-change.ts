import type { Matrix } from '../estimators/matrix.js'

/** ‖a − b‖ / ‖b‖; 0 only when they are equal to the last bit. */
export function relativeChange(a: Matrix, b: Matrix): number {
  let difference = 0
  let norm = 0
  for (let i = 0; i < a.data.length; i++) {
    difference += (a.data[i]! - b.data[i]!) ** 2
    norm += b.data[i]! ** 2
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm)
}
