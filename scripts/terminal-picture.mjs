/**
 * Draws the last screen of a recorded terminal session as SVG, for the README:
 *
 *     script -qec 'stty cols 80 rows 50; npx traitscope demo' demo.typescript
 *     node scripts/terminal-picture.mjs demo.typescript docs/demo.svg
 *
 * The recording holds every byte that was sent to the terminal, so this replays the few control sequences that
 * traitscope writes (cursor up, erase, colours) and draws what they leave.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const CELL = { width: 8.4, height: 18 }
const MARGIN = 16
const COLORS = { 1: '#ffffff', 2: '#8b949e', 31: '#ff7b72', 32: '#56d364', 33: '#e3b341', 36: '#76c7f0' }
const PLAIN = '#d0d7de'

/** Rows of cells `[character, colour]` that a session leaves on the screen. */
export function screenOf(recording) {
  const rows = [[]]
  let [row, column, color] = [0, 0, PLAIN]
  const put = (character) => {
    while (rows[row].length < column) rows[row].push([' ', PLAIN])
    rows[row][column++] = [character, color]
  }
  const line = (index) => {
    while (rows.length <= index) rows.push([])
    row = index
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences are what is parsed
  const tokens = recording.matchAll(/\u001b\[(\??[\d;]*)([A-Za-z])|\r|\n|[^\u0000-\u001f]/gu)
  for (const [token, parameters, command] of tokens) {
    if (token === '\r') column = 0
    else if (token === '\n') line(row + 1)
    else if (command === undefined) put(token)
    else if (command === 'A') row = Math.max(0, row - Number(parameters || 1))
    else if (command === 'K') rows[row].length = Math.min(rows[row].length, column)
    else if (command === 'J' && parameters === '') rows.length = row + 1
    else if (command === 'm') color = COLORS[parameters] ?? PLAIN
  }
  while (rows.length > 0 && rows.at(-1).every(([character]) => character === ' ')) rows.pop()
  return rows
}

/** Pieces of a row: one colour, and no two blanks in a row, which XML would join. */
function piecesOf(cells) {
  const pieces = []
  for (const [column, [character, color]] of cells.entries()) {
    const last = pieces.at(-1)
    if (last?.color === color && !(character === ' ' && last.text.endsWith(' '))) last.text += character
    else pieces.push({ column, color, text: character })
  }
  return pieces.flatMap(({ column, color, text }) => {
    const start = text.length - text.trimStart().length
    return text.trim() === '' ? [] : [{ column: column + start, color, text: text.trim() }]
  })
}

const xml = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** The screen as an SVG picture. */
export function pictureOf(rows, title) {
  const columns = Math.max(80, ...rows.map((cells) => cells.length))
  const width = 2 * MARGIN + columns * CELL.width
  const height = 2 * MARGIN + rows.length * CELL.height
  const texts = rows.flatMap((cells, row) =>
    piecesOf(cells).map(({ column, color, text }) => {
      const x = (MARGIN + column * CELL.width).toFixed(1)
      const y = (MARGIN + (row + 0.75) * CELL.height).toFixed(1)
      // The stretch keeps columns aligned whatever font the viewer has.
      const length = (text.length * CELL.width).toFixed(1)
      return `<text x="${x}" y="${y}" fill="${color}" textLength="${length}" lengthAdjust="spacingAndGlyphs">${xml(text)}</text>`
    }),
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width.toFixed(0)} ${height}" role="img" aria-label="${xml(title)}">
<title>${xml(title)}</title>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">
${texts.join('\n')}
</g>
</svg>
`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [recording, out] = process.argv.slice(2)
  if (recording === undefined || out === undefined) {
    console.error('usage: node scripts/terminal-picture.mjs RECORDING OUT.svg')
    process.exit(2)
  }
  // `script` adds a line of its own before and after the session.
  const session = readFileSync(recording, 'utf8').replace(/^Script (started|done) [^\n]*\n?/gm, '')
  writeFileSync(out, pictureOf(screenOf(session), 'traitscope demo in a terminal'))
}
