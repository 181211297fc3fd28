import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
// @ts-expect-error a script without types
import { stageGraph, stagesPicture, withStages } from '../../scripts/stages-picture.mjs'

const read = (path: string) => readFileSync(join(packageRoot, path), 'utf8')
const guide = read('CONTRIBUTING.md')
const hint = 'run node scripts/stages-picture.mjs'

describe('the picture of the stages', () => {
  it('should be drawn from the present imports', () => {
    expect(read('docs/stages.svg') === stagesPicture(), hint).toBe(true)
  })

  it('should show a box per stage and an arrow per import that no longer way implies', () => {
    const graph: Map<string, string[]> = stageGraph()
    const svg = read('docs/stages.svg')
    const boxes = [...svg.matchAll(/class="name"[^>]*>([^<]+)</g)].map((match) => match[1])
    expect(boxes.sort()).toEqual([...graph.keys()].sort())
    expect(svg.match(/class="line"/g)).toHaveLength([...graph.values()].flat().length)
    expect(graph.get('model')).toEqual(['binding'])
    expect(graph.get('trajectory')).not.toContain('model')
  })
})

describe('CONTRIBUTING.md', () => {
  it('should list the stages in their order', () => {
    expect(guide).toContain('`errors` → `arguments` → `package` → `percent`')
    expect(guide === withStages(guide), hint).toBe(true)
  })

  it('should point to places that are there', () => {
    const paths = [...guide.matchAll(/`((?:lib|bin|native|scripts|docs|lab|test|traits)\/[\w./-]*)`/g)].map(
      (match) => match[1] as string,
    )
    expect(paths.length).toBeGreaterThan(40)
    expect(paths.filter((path) => !existsSync(join(packageRoot, path)))).toEqual([])
  })
})
