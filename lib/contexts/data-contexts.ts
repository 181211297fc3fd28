import { percent } from '../percent.js'
import { type Context, named } from './context.js'
import type { Opening, TrainingData } from './training-data.js'

/** Of each kind so many are measured. */
const MOST = 4
/** A context that fewer of the rows have is left alone: it would stand for a handful of examples. */
const LEAST_SHARE = { system: 0.01, prefix: 0.05 }
const LEAST_ROWS = 2
/** Words of the longest prefix. */
const LONGEST_PREFIX = 16
/** A prefix that is this often followed by the same word is the longer one. */
const SAME = 0.9
/** Of a prefix that is taken, a longer one counts too when at least this share of its rows has it. */
const OWN_SHARE = 0.5

/** Contexts of a fine-tuning set, and in sentences what of it has none. */
export interface DataContexts {
  contexts: Context[]
  remarks: string[]
}

/**
 * The most frequent system prompts of a fine-tuning set, and the most frequent beginnings of its first turns.
 *
 * @param others names that are taken
 */
export function dataContexts(
  { openings, withoutTurn }: TrainingData,
  others: Iterable<string> = [],
): DataContexts {
  const systems = frequent(countOf(openings.flatMap(({ system }) => system ?? [])), 'system', openings.length)
  const prefixes = frequent(prefixesOf(openings), 'prefix', openings.length)
  const taken = [
    ...systems.taken.map(({ text, share }) => ({ origin: 'data' as const, system: text, share })),
    ...prefixes.taken.map(({ text, share }) => ({ origin: 'data' as const, prefix: text, share })),
  ]
  const contexts = named(taken, others)
  const without = openings.filter(({ system }) => system === undefined).length
  const rare = openings.length - without - systems.rows
  const remarks = [
    ...(withoutTurn > 0 ? [`${rowsOf(withoutTurn)} of the data have no turn of a user`] : []),
    ...(rare > 0
      ? [
          `${rowsOf(rare)} of ${openings.length} have system prompts that are measured in no context: the ${MOST} most frequent ones are, from ${percent(LEAST_SHARE.system)} of the rows on`,
        ]
      : []),
    ...(prefixes.taken.length === 0
      ? [`no beginning of a first turn is shared by ${percent(LEAST_SHARE.prefix)} of the rows`]
      : []),
  ]
  return { contexts, remarks }
}

interface Counted {
  text: string
  count: number
}

function countOf(texts: readonly string[]): Counted[] {
  const counts = new Map<string, number>()
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1)
  return [...counts].map(([text, count]) => ({ text, count }))
}

/** Beginnings of first turns that end with a word, each in its longest form. */
function prefixesOf(openings: readonly Opening[]): Counted[] {
  const least = Math.max(LEAST_ROWS, LEAST_SHARE.prefix * openings.length)
  const found: Counted[] = []
  // Word by word, and only below what was frequent enough: most rows are given up soon.
  let level = new Map<string, string[]>([['', openings.map(({ first }) => first)]])
  for (let words = 1; words <= LONGEST_PREFIX && level.size > 0; words++) {
    const next = new Map<string, string[]>()
    for (const [prefix, rows] of level) {
      const longer = new Map<string, string[]>()
      for (const row of rows) {
        const [word] = /^\s*\S+/.exec(row.slice(prefix.length)) ?? []
        if (word !== undefined) add(longer, prefix + word, row)
      }
      const often = [...longer].filter(([, having]) => having.length >= least)
      if (prefix !== '' && !often.some(([, having]) => having.length >= SAME * rows.length))
        found.push({ text: prefix, count: rows.length })
      for (const [text, having] of often) next.set(text, having)
    }
    level = next
  }
  found.push(...[...level].map(([text, rows]) => ({ text, count: rows.length })))
  return found
}

function add(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}

function frequent(counted: Counted[], kind: 'system' | 'prefix', rows: number) {
  const least = Math.max(LEAST_ROWS, LEAST_SHARE[kind] * rows)
  const taken: Counted[] = []
  for (const one of counted.sort((a, b) => b.count - a.count || (a.text < b.text ? -1 : 1))) {
    if (taken.length === MOST || one.count < least) break
    const begins = (other: Counted) => kind === 'prefix' && one.text.startsWith(other.text)
    if (taken.some((other) => begins(other) && one.count < OWN_SHARE * other.count)) continue
    taken.push(one)
  }
  return {
    taken: taken.map(({ text, count }) => ({ text, share: count / rows })),
    rows: taken.reduce((sum, { count }) => sum + count, 0),
  }
}

const rowsOf = (count: number) => `${count} row${count === 1 ? '' : 's'}`
