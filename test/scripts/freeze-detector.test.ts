import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadBundle } from '../../lib/detector/bundle.js'
import { packageRoot } from '../../lib/package.js'
// @ts-expect-error a script without types
import { CHOICE, COMMAND, sourceHashes } from '../../scripts/freeze-detector.mjs'

interface Choice {
  sources: Record<string, string>
  models: Record<string, { chosen: string; threshold: number }>
}

const choice = JSON.parse(readFileSync(join(packageRoot, CHOICE), 'utf8')) as Choice
const hint = `a source of the detector is not the one that ${CHOICE} was made with: run "${COMMAND}" (some minutes), which \
writes the new hashes where every figure is as it was, and commit them alone, saying what moved and that no rule did. Where \
it says that the choice is another one, the change has a rule in it: it has to be chosen again, and tested on new held-out sets`

describe('the frozen choice of the detector', () => {
  it('should be that of the sources as they are', () => {
    expect(choice.sources, hint).toEqual(sourceHashes())
  })

  it('should be what the bundles hold', async () => {
    const bundles = join(packageRoot, 'organisms', 'bundles')
    const names = readdirSync(bundles)
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) {
      const { detector } = await loadBundle(join(bundles, name))
      const { chosen, threshold } = choice.models[name]!
      expect([`${detector.model} on layer ${detector.layers.join(', ')}`, detector.threshold]).toEqual([
        chosen,
        threshold,
      ])
    }
  })
})
