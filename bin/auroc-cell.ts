import type { HeldOutAuroc } from '../lib/directions/held-out.js'

/** `.61 .42-.80`: the estimate and its interval. */
export function aurocCell(held: HeldOutAuroc | null | undefined): string {
  if (!held) return '-'
  const short = (share: number) => share.toFixed(2).replace(/^0/, '')
  return `${short(held.auroc)} ${held.interval.map(short).join('-')}`
}
