import { swapAdapters } from '../../dist/lib/bench/adapter-swap.js'

export async function run(model, { layer, rounds }) {
  const swaps = []
  while (swaps.length < rounds) swaps.push(await swapAdapters(model, Int32Array.of(1), layer))
  return {
    seconds: swaps.map(({ swapSeconds }) => swapSeconds),
    modules: swaps[0].modules,
    readSeconds: swaps[0].readSeconds,
  }
}
