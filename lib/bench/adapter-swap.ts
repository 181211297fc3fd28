import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { throwIfAborted } from '../errors.js'
import { median } from '../estimators/mean.js'
import { readPeftAdapter } from '../formats/peft/peft.js'
import { hiddenStates } from '../hidden-states/hidden-states.js'
import { writeRandomAdapter } from '../hidden-states/random-adapter.js'
import type { Model } from '../model/model.js'

/** Rank, on the query and value projections. */
const RANK = 16
const SWAPS = 5

export interface AdapterSwap {
  modules: number
  /** Reading and checking the files. */
  readSeconds: number
  /** Mapping onto the base, loading, applying, taking out: what a checkpoint costs besides its pass and its files. */
  swapSeconds: number
}

/** Median of several swaps of a random adapter; each is applied by a pass of one token, which does not count. */
export async function swapAdapters(
  model: Model,
  prompt: Int32Array,
  layer: number,
  signal?: AbortSignal,
): Promise<AdapterSwap> {
  const folder = await mkdtemp(join(tmpdir(), 'traitscope-bench-'))
  try {
    await writeRandomAdapter(folder, model.gguf, RANK)
    const reads: number[] = []
    const swaps: number[] = []
    let modules = 0
    for (let i = 0; i < SWAPS; i++) {
      throwIfAborted(signal)
      const started = performance.now()
      const peft = await readPeftAdapter(folder)
      const read = performance.now()
      const adapter = await model.attach(peft)
      const attached = performance.now()
      const pass = async () => {
        const before = performance.now()
        await hiddenStates(model, [prompt.subarray(0, 1)], { layers: [layer], adapter, signal })
        return performance.now() - before
      }
      // Applying is what the first pass with the adapter takes longer than the second.
      const applying = (await pass()) - (await pass())
      const detaching = performance.now()
      await adapter.detach()
      modules = adapter.report.modules.length
      reads.push(read - started)
      swaps.push(attached - read + Math.max(0, applying) + performance.now() - detaching)
    }
    return { modules, readSeconds: median(reads) / 1000, swapSeconds: median(swaps) / 1000 }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
