import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../lib/package.js'

// Imports point one way: a stage may use itself and the stages before it (design: folders are the stages that data
// flows through). CONTRIBUTING.md shows this list to newcomers.
const STAGES = [
  'errors',
  'package',
  'binding',
  'formats',
  'model',
  'prompts',
  'hidden-states',
  'estimators',
  'directions',
  'trajectory',
  'drift',
  'labels',
  'detector',
  'monitor',
  'bench',
  'report',
  'demo',
  'index',
]

const lib = join(packageRoot, 'lib')
const stageOf = (file: string) => (file.split('/')[0] as string).replace(/\.ts$/, '')

function importsOf(file: string): { from: string; to: string }[] {
  const text = readFileSync(join(lib, file), 'utf8')
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => ({
    from: file,
    to: posix.join(posix.dirname(file), match[1] as string).replace(/\.js$/, '.ts'),
  }))
}

const files = readdirSync(lib, { recursive: true })
  .map((file) => String(file).split(sep).join('/'))
  .filter((file) => file.endsWith('.ts'))

describe('imports of lib/', () => {
  it('should know every stage', () => {
    expect(files.map(stageOf).filter((stage) => !STAGES.includes(stage))).toEqual([])
  })

  it('should point to the same or an earlier stage', () => {
    const imports = files.flatMap(importsOf)
    expect(imports.length).toBeGreaterThan(20)
    const backwards = imports.filter(
      ({ from, to }) => STAGES.indexOf(stageOf(to)) > STAGES.indexOf(stageOf(from)) || to.startsWith('..'),
    )
    expect(backwards.map(({ from, to }) => `${from} -> ${to}`)).toEqual([])
  })

  it('should keep the addon behind one door', () => {
    const doors = files.filter((file) =>
      /traitscope\.node|node-gyp-build/.test(readFileSync(join(lib, file), 'utf8')),
    )
    expect(doors).toEqual(['binding.ts'])
  })

  it('should keep Node out of the core', () => {
    const core = join(packageRoot, 'native', 'core')
    const guilty = readdirSync(core).filter((file) =>
      /napi|node_api/.test(readFileSync(join(core, file), 'utf8')),
    )
    expect(guilty).toEqual([])
  })

  it('should keep the public list free of logic', () => {
    if (!files.includes('index.ts')) return
    const text = readFileSync(join(lib, 'index.ts'), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')
    expect(text.replace(/export (type )?\{[^}]*\} from '[^']+'/g, '').trim()).toBe('')
  })
})
