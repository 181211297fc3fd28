import { swapAdapters } from '../../dist/lib/bench/adapter-swap.js'

export async function run(model, { layer }) {
  const swap = await swapAdapters(model, Int32Array.of(1), layer)
  return { seconds: [swap.swapSeconds], modules: swap.modules, readSeconds: swap.readSeconds }
}
