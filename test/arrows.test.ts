import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../lib/package.js'

// Imports point one way: a stage may use itself and the stages before it (folders are the stages that data flows
// through). CONTRIBUTING.md shows this list to newcomers.
const STAGES = [
  'errors',
  'package',
  'binding',
  'formats',
  'estimators',
  'model',
  'prompts',
  'conditions',
  'hidden-states',
  'generation',
  'bench',
  'labels',
  'directions',
  'trajectory',
  'drift',
  'runs',
  'detector',
  'calibration',
  'inspect',
  'report',
  'monitor',
  'geometry',
  'evaluation',
  'explain',
  'demo',
  'index',
]

// Rooms inside a stage, in the order that they may import one another; '' are the files of the stage's root.
const ROOMS: Record<string, string[]> = {
  formats: ['files', 'json', 'safetensors', 'gguf', 'hf', 'peft', 'run'],
  model: ['base', 'placement.ts', 'lora', 'merge', 'convert', '', 'checkpoint'],
}

const lib = join(packageRoot, 'lib')
const stageOf = (file: string) => (file.split('/')[0] as string).replace(/\.ts$/, '')

/** Where a file stands within its stage; 0 in a stage without rooms, -1 in a room that nobody knows. */
function roomOf(file: string): number {
  const [stage = '', ...rest] = file.split('/')
  const rooms = ROOMS[stage]
  if (!rooms) return rest.length > 1 ? -1 : 0
  const [name = ''] = rest
  return rooms.indexOf(rest.length > 1 || rooms.includes(name) ? name : '')
}

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
    expect(files.filter((file) => roomOf(file) < 0)).toEqual([])
  })

  it('should point to the same or an earlier stage', () => {
    const imports = files.flatMap(importsOf)
    expect(imports.length).toBeGreaterThan(20)
    const backwards = imports.filter(({ from, to }) => {
      const stages = STAGES.indexOf(stageOf(to)) - STAGES.indexOf(stageOf(from))
      return stages > 0 || (stages === 0 && roomOf(to) > roomOf(from)) || to.startsWith('..')
    })
    expect(backwards.map(({ from, to }) => `${from} -> ${to}`)).toEqual([])
  })

  it('should never come back to where they started', () => {
    const done = new Set<string>()
    const circles: string[] = []
    const visit = (file: string, way: readonly string[]) => {
      if (way.includes(file)) circles.push([...way.slice(way.indexOf(file)), file].join(' -> '))
      if (done.has(file) || way.includes(file)) return
      for (const { to } of importsOf(file)) visit(to, [...way, file])
      done.add(file)
    }
    for (const file of files) visit(file, [])
    expect(circles).toEqual([])
  })

  it('should not go through the public list in bin/, which takes the stages themselves', () => {
    const bin = join(packageRoot, 'bin')
    const guilty = readdirSync(bin, { recursive: true })
      .map(String)
      .filter((file) => file.endsWith('.ts'))
      .filter((file) => readFileSync(join(bin, file), 'utf8').includes('lib/index.js'))
    expect(guilty).toEqual([])
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
