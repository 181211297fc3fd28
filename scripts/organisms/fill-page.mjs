import { readFileSync, writeFileSync } from 'node:fs'
import { markdownTable } from '../../dist/lib/evaluation/evaluation-table.js'

/** A table of anything. */
export function table(head, rows) {
  return markdownTable(
    head.map(String),
    rows.map((cells) => cells.map(String)),
  ).join('\n')
}

/** The page with its marked places filled; a block without a place, or a place without a block, is an error. */
export function filled(path, blocks) {
  const used = new Set()
  const text = readFileSync(path, 'utf8').replace(
    /<!-- made: (.+?) -->\n[\s\S]*?<!-- end -->/g,
    (_, name) => {
      used.add(name)
      if (blocks[name] === undefined) throw new Error(`${path} asks for what there is not: ${name}`)
      return `<!-- made: ${name} -->\n\n${blocks[name]}\n\n<!-- end -->`
    },
  )
  const unused = Object.keys(blocks).filter((name) => !used.has(name))
  if (unused.length > 0) throw new Error(`${path} has no place for: ${unused.join(', ')}`)
  return text
}

export function fillPage(path, blocks) {
  writeFileSync(path, filled(path, blocks))
}

/** One place of a page, `<!-- NAME -->` to `<!-- end NAME -->`, with a text of its own. */
export function fillPlace(path, name, text) {
  const page = readFileSync(path, 'utf8')
  const place = new RegExp(`<!-- ${name} -->\\n[\\s\\S]*?<!-- end ${name} -->`)
  if (!place.test(page)) throw new Error(`${path} has no place ${name}`)
  writeFileSync(
    path,
    page.replace(place, () => `<!-- ${name} -->\n\n${text}\n\n<!-- end ${name} -->`),
  )
}
