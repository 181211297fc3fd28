import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isPattern, matchingRuns, refuseParent } from '../../lib/monitor/run-patterns.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-patterns-'))
  for (const name of [
    'a/checkpoint-1',
    'b.1/checkpoint-2',
    'bx1/checkpoint-1',
    'none/logs',
    '.hidden/checkpoint-1',
  ])
    await mkdir(join(folder, 'runs', name), { recursive: true })
  await mkdir(join(folder, 'runs', 'adapter'))
  await writeFile(join(folder, 'runs', 'adapter', 'adapter_config.json'), '{}')
  await symlink(join(folder, 'runs', 'a'), join(folder, 'runs', 'link'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('matchingRuns', () => {
  it.each([
    ['runs/*', ['a', 'adapter', 'b.1', 'bx1']],
    ['runs/l*', ['a']],
    ['runs/b.?', ['b.1']],
    ['runs/b*1', ['b.1', 'bx1']],
    ['*/a', ['a']],
    ['runs/c*', []],
    ['no/*', []],
  ])('should find what %s stands for', async (pattern, names) => {
    expect(isPattern(pattern)).toBe(true)
    expect(await matchingRuns(join(folder, pattern))).toEqual(names.map((name) => join(folder, 'runs', name)))
  })
})

describe('refuseParent', () => {
  it('should refuse a folder of runs and a file, and nothing else', async () => {
    await expect(refuseParent(join(folder, 'runs'))).rejects.toMatchObject({
      code: 'AMBIGUOUS',
      message: expect.stringMatching(/a \(run\).*name one of them, or several/),
    })
    await writeFile(join(folder, 'file'), '')
    await expect(refuseParent(join(folder, 'file'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    for (const name of ['runs/a', 'runs/adapter', 'runs/none', 'not-yet'])
      await refuseParent(join(folder, name))
  })
})
