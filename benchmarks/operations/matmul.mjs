import { roof } from '../../dist/lib/bench/roofline.js'

export async function run(model, { seconds, threads = [model.threads] }) {
  return { operationsPerSecond: [await roof(model, threads[0], Math.min(2, seconds))] }
}
