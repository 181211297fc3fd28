import type { HeldOutAuroc } from '../lib/directions/held-out.js'
import { decimals } from '../lib/percent.js'

/** `.61 .42-.80`: the estimate and its interval. */
export function aurocCell(held: HeldOutAuroc | null | undefined): string {
  if (!held) return '-'
  return `${decimals(held.auroc)} ${held.interval.map(decimals).join('-')}`
}
