/**
 * Writes docs/api.md from the comments of what the package exports:
 *
 *     node scripts/api-page.mjs
 *
 * A page per package, a section per task, in the order of lib/index.ts. Equal comments, equal bytes; a test says when the page
 * is old or a public value has no summary.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { publicApi } from './public-api.mjs'
import { repository } from './stages.mjs'

export const PAGE = join(repository, 'docs', 'api.md')

/** Tags of a comment that the page shows. */
const TAGS = ['param', 'returns', 'throws']

/** The parts of a comment: its text, and what follows each tag, in order. */
export function parseComment(comment) {
  const text = comment
    .replace(/^\/\*\*\s?|\s*\*\/$/g, '')
    .replace(/^[ \t]*\*[ \t]?/gm, '')
    .replace(/^\s*@internal\b.*$/gm, '')
    .trim()
  const [summary, ...rest] = text.split(/(?:^|\s)@(?=(?:param|returns|throws)\b)/)
  const tags = rest.map((part) => {
    const [, tag, content] = /^(\w+)\s*([\s\S]*)$/.exec(part)
    return { tag, text: content.trim() }
  })
  return { summary: summary.trim(), tags }
}

/** Markdown of one line of prose or more; links to names become links on the page where it knows them. */
function prose(text, known) {
  const paragraphs = text.split(/\n\s*\n/).map((paragraph) => paragraph.replace(/\s*\n\s*(?!- )/g, ' '))
  return paragraphs.join('\n\n').replace(/\{@link ([\w.]+)\}/g, (_, name) => {
    const item = known.get(name.split('.')[0])
    return item === undefined ? `\`${name}\`` : `[\`${name}\`](#${anchorOf(item)})`
  })
}

/** Some types differ from a function by one capital letter, which an address does not have. */
const headingOf = ({ value, name }) => (value ? name : `type ${name}`)
const anchorOf = (item) => headingOf(item).toLowerCase().replaceAll(' ', '-')

/** A declaration as code: two spaces, links as plain names, a long list of parameters one to a line. */
function code({ kind, text }) {
  const lines = text
    .replace(/\{@link ([\w.]+)\}/g, '$1')
    .replace(/\{[^{}]*\}(\??: )((?:Pick|Omit)<)?(\w*)/g, (_, colon, picked = '', type) => {
      return `${parameterOf(type)}${colon}${picked}${type}`
    })
    .replace(/^( {4})+/gm, (spaces) => spaces.slice(spaces.length / 2))
    .split('\n')
    .filter((line) => line.trim() !== '')
  const body = kind === 'function' ? lines.map(wrapped) : kind === 'type' ? lines.map(piled) : lines
  return ['```ts', ...body, '```'].join('\n')
}

/** A name for a parameter that is taken apart where it is declared. */
const parameterOf = (type) =>
  type === '' || type.endsWith('Options') ? 'options' : type[0].toLowerCase() + type.slice(1)

function wrapped(line) {
  if (line.length <= 100) return line
  const open = line.indexOf('(')
  const parts = []
  let depth = 0
  let start = open + 1
  let at = open + 1
  for (; at < line.length; at++) {
    const [character] = line.slice(at)
    if (character === ')' && depth === 0) break
    if ('({[<'.includes(character)) depth++
    if (')}]'.includes(character) || (character === '>' && line[at - 1] !== '=')) depth--
    if (character === ',' && depth === 0) {
      parts.push(line.slice(start, at))
      start = at + 1
    }
  }
  parts.push(line.slice(start, at))
  return [line.slice(0, open + 1), ...parts.map((part) => `  ${part.trim()},`), line.slice(at)].join('\n')
}

/** A long union, as many names to a line as fit. */
function piled(line) {
  if (line.length <= 100) return line
  const [first, ...rest] = line.split(' | ')
  const lines = [first]
  for (const name of rest) {
    if (`${lines.at(-1)} | ${name}`.length > 100) lines.push(`  | ${name}`)
    else lines[lines.length - 1] += ` | ${name}`
  }
  return lines.join('\n')
}

function entry(item, known) {
  const { summary, tags } = parseComment(item.comment)
  const parts = [`#### ${headingOf(item)}`]
  if (summary !== '') parts.push(prose(summary, known))
  parts.push(code(item))
  const list = tags
    .filter(({ tag }) => TAGS.includes(tag))
    .map(({ tag, text }) => {
      if (tag === 'returns') return `- Returns ${prose(text, known)}`
      if (tag === 'throws') return `- Throws ${prose(text, known)}`
      const [, name, rest] = /^(\S+)\s*-?\s*([\s\S]*)$/.exec(text)
      return `- \`${name}\`: ${prose(rest, known)}`
    })
  if (list.length > 0) parts.push(list.join('\n'))
  return parts.join('\n\n')
}

/** The whole page. */
export function apiPage({ entries }) {
  const known = new Map(
    entries.flatMap(({ sections }) =>
      sections.flatMap(({ items }) => items.map((item) => [item.name, item])),
    ),
  )
  const parts = [
    '# API',
    'Made from the comments of the code by `node scripts/api-page.mjs`; a test keeps it so. Lengths stand in brackets, outermost ' +
      'first: `[nPrompts, nLayers, nEmbd]`. Layers are 0-based block outputs. Every function rejects with a `TraitscopeError`; ' +
      '[errors.md](errors.md) says what its codes mean. Formats of files are in ' +
      '[formats/](formats/README.md), formulas in [method.md](method.md).',
    contents(entries),
  ]
  for (const { name, sections } of entries) {
    parts.push(`## ${name}`)
    for (const { title, lead, items } of sections) {
      parts.push(`### ${title}`, lead)
      const values = items.filter(({ value }) => value)
      const types = items.filter(({ value }) => !value)
      parts.push(...[...values, ...types].map((item) => entry(item, known)))
    }
  }
  return `${parts.join('\n\n')}\n`
}

function contents(entries) {
  const rows = entries.flatMap(({ name, sections }) =>
    sections.map(({ title, items }) => {
      const values = items.filter(({ value }) => value).map((item) => `[${item.name}](#${anchorOf(item)})`)
      return `| \`${name}\` | [${title}](#${title.toLowerCase().replaceAll(' ', '-')}) | ${values.join(', ')} |`
    }),
  )
  return ['| import from | for | values |', '|---|---|---|', ...rows].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const api = publicApi()
  if (api.unexported.length > 0) console.error(api.unexported.join('\n'))
  const page = apiPage(api)
  if (page !== readFileSync(PAGE, { encoding: 'utf8', flag: 'a+' })) writeFileSync(PAGE, page)
}
