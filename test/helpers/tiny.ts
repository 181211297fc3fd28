import { join } from 'node:path'
import { packageRoot } from '../../lib/package.js'

/** The tiny trained model and its run, made by lab/tiny_run.py. */
export const TINY = join(packageRoot, 'test/fixtures/tiny')
export const TINY_BASE = join(TINY, 'base.gguf')
export const TINY_RUN = join(TINY, 'run')
export const TINY_PACK = join(TINY, 'pack.yaml')

/** ||a - b|| / ||b||, accumulated in float64. */
export function relativeL2(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`lengths ${a.length} and ${b.length} differ`)
  let difference = 0
  let norm = 0
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2
    norm += b[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}
