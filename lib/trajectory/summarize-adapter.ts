import type { PeftAdapter } from '../formats/peft/peft.js'
import type { AttachReport } from '../model/lora/lora.js'
import type { AdapterSummary } from './trajectory.js'

/** How an adapter met the base, as a trajectory has it. */
export function summarize({ config }: PeftAdapter, { modules }: AttachReport): AdapterSummary {
  const distinct = (values: number[]) => [...new Set(values)].sort((a, b) => a - b)
  return {
    rank: config.r,
    alpha: config.loraAlpha,
    modules: modules.length,
    targets: [...new Set(modules.map(({ path }) => path.slice(path.lastIndexOf('.') + 1)))].sort(),
    ranks: distinct(modules.map(({ r }) => r)),
    scales: distinct(modules.map(({ scale }) => scale)),
    zeroModules: modules.filter(({ bIsZero, scale }) => bIsZero || scale === 0).length,
  }
}
