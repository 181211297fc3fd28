import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'

// Scripts, benchmarks and examples are plain JavaScript, pages show some: no compiler says when a name that they import is gone.
const files = ['scripts', 'benchmarks', 'examples', 'test', 'docs'].flatMap((folder) =>
  readdirSync(join(packageRoot, folder), { recursive: true })
    .map((file) => posix.join(folder, String(file).split(sep).join('/')))
    .filter((file) => /\.(mjs|md)$/.test(file)),
)
files.push('README.md')

interface Import {
  from: string
  /** Of the compiled file, or of a script. */
  to: string
  names: string[]
}

function importsOf(from: string): Import[] {
  const text = readFileSync(join(packageRoot, from), 'utf8')
  return [...text.matchAll(/^import\s+(?:\{([^}]*)\}|\* as \w+)\s+from '(\.[^']+|traitscope[^']*)'/gm)].map(
    ([, list = '', to]) => ({
      from,
      to: to!.startsWith('.') ? posix.join(posix.dirname(from), to!) : entry(to!),
      names: list
        .split(',')
        .map((name) => name.trim().split(/\s+as\s+/)[0]!)
        .filter((name) => name !== ''),
    }),
  )
}

const { exports } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
const entry = (name: string): string =>
  posix.normalize(exports[name.replace(/^traitscope/, '.')]?.default ?? `no entry ${name}`)

describe('imports of plain scripts', () => {
  const imports = files.flatMap(importsOf)
  const ofLib = imports.filter(({ to }) => to.startsWith('dist/'))

  it('should lead to files that there are', () => {
    expect(ofLib.length).toBeGreaterThan(40)
    const source = (to: string) => to.replace(/^dist\//, '').replace(/\.js$/, '.ts')
    const lost = imports.filter(
      ({ to }) => !existsSync(join(packageRoot, to.startsWith('dist/') ? source(to) : to)),
    )
    expect(lost.map(({ from, to }) => `${from}: ${to}`)).toEqual([])
  })

  it('should name what is exported there', async () => {
    const lost: string[] = []
    for (const { from, to, names } of ofLib) {
      const path = join(packageRoot, to.replace(/^dist\//, '').replace(/\.js$/, '.ts'))
      if (!existsSync(path)) continue
      const module = (await import(path)) as object
      lost.push(...names.filter((name) => !(name in module)).map((name) => `${from}: ${name} of ${to}`))
    }
    expect(lost).toEqual([])
  })
})
