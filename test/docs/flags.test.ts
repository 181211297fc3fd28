import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { buildProgram } from '../../bin/program.js'
import { packageRoot } from '../../lib/package.js'

const pages = [
  'README.md',
  ...readdirSync(join(packageRoot, 'docs'), { recursive: true })
    .map((file) => join('docs', String(file)))
    .filter((file) => file.endsWith('.md')),
]
const named = new Set(
  pages.flatMap((page) => readFileSync(join(packageRoot, page), 'utf8').match(/--[a-z][a-z0-9-]*/g) ?? []),
)
const { commands } = buildProgram(new AbortController().signal)

describe('the pages', () => {
  it.each(
    commands.flatMap((command) => [command, ...command.commands]).map((each) => [each.name(), each] as const),
  )('should name every flag of %s', (_, command) => {
    const flags = command.options.flatMap(({ long }) => long ?? [])
    expect(flags.filter((flag) => !named.has(flag))).toEqual([])
  })
})
