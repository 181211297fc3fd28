import { roof } from '../../dist/lib/bench/roofline.js'

export async function run(model, { rounds, seconds }) {
  const rates = []
  while (rates.length < rounds) rates.push(await roof(model, model.threads, Math.min(2, seconds)))
  return { operationsPerSecond: rates }
}
