/** One line of CSV (RFC 4180), without the line break; null and numbers that are not finite are empty. */
export function csvLine(cells: readonly (string | number | null)[]): string {
  return cells
    .map((cell) => {
      if (cell === null || (typeof cell === 'number' && !Number.isFinite(cell))) return ''
      const text = String(cell)
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
    })
    .join(',')
}
