import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../lib/package.js'
// @ts-expect-error a script without types
import * as stages from '../scripts/stages.mjs'

// Imports point one way: a stage may use itself and the stages before it.
interface Import {
  from: string
  to: string
}
const lib = join(packageRoot, 'lib')
const files: string[] = stages.files
const order: string[] = [...stages.STAGES.keys()]
const stageOf: (file: string) => string = stages.stageOf
const roomOf: (file: string) => number = stages.roomOf
const importsOf: (file: string) => Import[] = stages.importsOf

describe('imports of lib/', () => {
  it('should know every stage, and no others', () => {
    expect(new Set(files.map(stageOf))).toEqual(new Set(order))
    expect(files.filter((file) => roomOf(file) < 0)).toEqual([])
  })

  it('should point to the same or an earlier stage', () => {
    const imports = files.flatMap(importsOf)
    expect(imports.length).toBeGreaterThan(20)
    const backwards = imports.filter(({ from, to }) => {
      const stages = order.indexOf(stageOf(to)) - order.indexOf(stageOf(from))
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

  it('should not go through a public list in bin/, which takes the stages themselves', () => {
    const bin = join(packageRoot, 'bin')
    const guilty = readdirSync(bin, { recursive: true })
      .map(String)
      .filter((file) => file.endsWith('.ts'))
      .filter((file) => readFileSync(join(bin, file), 'utf8').match(/from '.*\/index\.js'/))
    expect(guilty).toEqual([])
  })

  it('should keep the addon behind one door', () => {
    const doors = files.filter((file) =>
      /traitscope\.node|node-gyp-build/.test(readFileSync(join(lib, file), 'utf8')),
    )
    expect(doors).toEqual(['addon/find-addon.ts'])
    const loaders = files.filter((file) => /\bloadAddon\b/.test(readFileSync(join(lib, file), 'utf8')))
    expect(loaders).toEqual(['addon/find-addon.ts', 'binding.ts'])
  })

  it('should use a header of llama.cpp that is not public in one place', () => {
    const native = join(packageRoot, 'native')
    const guilty = readdirSync(native, { recursive: true })
      .map(String)
      .filter((file) => /\.(cpp|h)$/.test(file))
      .filter((file) =>
        /#include [<"][^<"]*llama-(ext|impl|model|context|graph)/.test(
          readFileSync(join(native, file), 'utf8'),
        ),
      )
    expect(guilty).toEqual([join('core', 'memory_plan.cpp')])
  })

  it('should keep Node out of the core', () => {
    const core = join(packageRoot, 'native', 'core')
    const guilty = readdirSync(core).filter((file) =>
      /napi|node_api/.test(readFileSync(join(core, file), 'utf8')),
    )
    expect(guilty).toEqual([])
  })

  it('should keep the public lists free of logic', () => {
    const lists = files.filter((file) => stageOf(file) === 'index')
    expect(lists).toContain('index.ts')
    for (const file of lists) {
      const text = readFileSync(join(lib, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\/\/.*$/gm, '')
      expect(text.replace(/export (type )?\{[^}]*\} from '[^']+'/g, '').trim(), file).toBe('')
    }
  })
})

describe('tests', () => {
  it('should leave speed to benchmarks/: a slow machine fails no test', () => {
    const test = join(packageRoot, 'test')
    const guilty = readdirSync(test, { recursive: true })
      .map(String)
      .filter((file) => /\.(ts|mjs)$/.test(file))
      .filter((file) =>
        /performance\.now\(|hrtime|process\.uptime/.test(readFileSync(join(test, file), 'utf8')),
      )
    expect(guilty.filter((file) => file !== 'arrows.test.ts')).toEqual([])
  })
})

describe('functions and constants that a file exports', () => {
  it('should have a user in another file', () => {
    const trees = ['lib', 'bin', 'page', 'scripts', 'benchmarks', 'lab', 'examples', 'test']
    const texts = new Map(trees.flatMap(sourcesIn).map((path) => [path, readFileSync(path, 'utf8')]))
    const words = new Map([...texts].map(([path, text]) => [path, new Set(text.match(/[A-Za-z_$][\w$]*/g))]))
    const exported = /^export (?:async )?(?:function\*?|const|class) (\w+)/gm
    const unused = [...texts]
      .filter(([path]) => path.endsWith('.ts') && !path.startsWith(join(packageRoot, 'test')))
      .flatMap(([path, text]) => [...text.matchAll(exported)].map(([, name]) => ({ path, name: name! })))
      .filter(({ path, name }) => ![...words].some(([other, said]) => other !== path && said.has(name)))
    expect(unused.map(({ path, name }) => `${name} of ${path}`)).toEqual([])
  })
})

function sourcesIn(tree: string): string[] {
  const folder = join(packageRoot, tree)
  return readdirSync(folder, { recursive: true })
    .map((file) => join(folder, String(file)))
    .filter((path) => /\.(ts|mjs|js)$/.test(path))
}
