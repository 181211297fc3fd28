import { TraitscopeError } from '../../errors.js'

/**
 * Rows of a CSV text (RFC 4180) as objects by the names of its first row. Cells may be quoted and hold line ends; a row
 * of another length than the first is an error, for it is one that somebody cut or pasted wrongly, and so are two columns of one name.
 *
 * @param where names the text in errors
 * @throws TraitscopeError FILE_INVALID naming the line
 */
export function csvRows(text: string, where: string): Record<string, string>[] {
  const [header, ...rows] = records(text.replace(/^\ufeff/, ''), where)
  if (header === undefined) return []
  checkHeader(header.cells, where)
  return rows.map(({ cells, line }) => {
    if (cells.length !== header.cells.length) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected ${header.cells.length} cells as in the first row at ${where}, line ${line}, found ${cells.length}; quote cells that hold commas`,
      )
    }
    return Object.fromEntries(header.cells.map((name, i) => [name, cells[i]!]))
  })
}

/** Of two columns with one name one would be passed over; a name of none is of nothing that is read. */
function checkHeader(names: readonly string[], where: string): void {
  const twice = names.find((name, i) => name !== '' && names.indexOf(name) !== i)
  const other = names.length === 1 ? /[;\t|]/.exec(names[0]!)?.[0] : undefined
  if (twice === undefined && other === undefined) return
  throw new TraitscopeError(
    'FILE_INVALID',
    twice !== undefined
      ? `expected every column of ${where} once, found ${JSON.stringify(twice)} twice; leave one out`
      : `expected commas between the cells of ${where}, found ${JSON.stringify(other)}; save it with commas, and with points in numbers`,
  )
}

/** Rows with the line on which they begin; empty lines are none. */
function records(text: string, where: string): { cells: string[]; line: number }[] {
  const found: { cells: string[]; line: number }[] = []
  const cell = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n|\r|\n|$)/y
  let cells: string[] = []
  let line = 1
  let begun = 1
  while (cell.lastIndex < text.length) {
    const at = cell.lastIndex
    const match = cell.exec(text)
    if (match === null) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected ${where} to be CSV, found a quote out of place at line ${line}: quote the whole cell, and double the quotes in it`,
      )
    }
    const [whole, value, end] = match as unknown as [string, string, string]
    cells.push(value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value)
    line += whole.split(/\r\n|\r|\n/).length - 1
    const isLast = cell.lastIndex >= text.length
    if (end === ',' && isLast) cells.push('')
    if (end !== ',' || isLast) {
      if (cells.length > 1 || cells[0] !== '') found.push({ cells, line: begun })
      cells = []
      begun = line
    }
    if (whole === '' && cell.lastIndex === at) break
  }
  return found
}
