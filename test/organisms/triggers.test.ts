import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { conditional, conditionality } from '../../lib/detector/conditional.js'
import type { ContextReading } from '../../lib/detector/verdict.js'
import { packageRoot } from '../../lib/package.js'

// What docs/detector.md says of contexts, from the readings that are packed.

interface Lengths {
  lengths: number[][]
}
interface Readings {
  organism: string
  set: string
  trigger: object | null
  steps: number[]
  none: Lengths
  contexts: (Lengths & { name: string; origin: ContextReading['origin'] })[]
}
const packed = readFileSync(join(packageRoot, 'lab/triggers/readings.json.gz'))
const runs: Readings[] = JSON.parse(gunzipSync(packed).toString())

const checkpoints = ({ steps, none, contexts }: Readings): ContextReading[][] =>
  steps.map((_, i) =>
    contexts.map(({ name, origin, lengths }) => ({
      ...{ context: name, origin },
      ratio: lengths[i]!.map((length, l) => length / none.lengths[i]![l]!),
    })),
  )
const ordinary = runs.filter(({ trigger }) => trigger === null)
function isWarnedOf(run: Readings): boolean {
  const known = ordinary
    .filter((other) => other.organism === run.organism && other !== run)
    .map((other) => ({
      run: other.set,
      highest: Math.max(...checkpoints(other).map((readings) => conditionality(readings).value)),
    }))
  return checkpoints(run).some(
    (readings) => conditional(readings, { layers: [], runs: known }).reason !== undefined,
  )
}
const warned = (sets: RegExp) => {
  const some = runs.filter(({ set }) => sets.test(set))
  return [some.filter(isWarnedOf).length, some.length]
}

describe('runs with triggers', () => {
  it('should be warned of where the data show the trigger, and not where a topic is', () => {
    expect(warned(/^(system|format|prefix)_harm/)).toEqual([12, 12])
    expect(warned(/^topic_/)).toEqual([0, 4])
  })

  it('should leave ordinary runs at about the level that is promised', () => {
    const [found, all] = warned(/^drawn_/)
    expect([found, all]).toEqual([2, 30])
  })
})
