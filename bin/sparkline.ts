const BLOCKS = '▁▂▃▄▅▆▇█'

/** A bar per value; a blank where there is none. */
export function sparkline(values: readonly (number | null | undefined)[], min: number, max: number): string {
  return values
    .map((value) => {
      if (value == null || !Number.isFinite(value)) return ' '
      const share = (value - min) / Math.max(1e-12, max - min)
      return BLOCKS[Math.round(Math.min(1, Math.max(0, share)) * (BLOCKS.length - 1))]
    })
    .join('')
}
