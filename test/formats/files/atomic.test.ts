import { execFile } from 'node:child_process'
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkOutputFree, publishFolder, writeFileAtomic } from '../../../lib/formats/files/atomic.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-atomic-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('writeFileAtomic', () => {
  async function* chunks() {
    yield new Uint8Array([1, 2])
    yield new Uint8Array([3])
  }

  it('should write strings, bytes and streams', async () => {
    await writeFileAtomic(join(folder, 'a'), 'é')
    await writeFileAtomic(join(folder, 'b'), new Uint8Array([9]))
    await writeFileAtomic(join(folder, 'c'), chunks())
    expect(await readFile(join(folder, 'a'), 'utf8')).toBe('é')
    expect([...(await readFile(join(folder, 'b')))]).toEqual([9])
    expect([...(await readFile(join(folder, 'c')))]).toEqual([1, 2, 3])
    expect((await readdir(folder)).sort()).toEqual(['a', 'b', 'c'])
  })

  it('should refuse a taken name and leave it alone', async () => {
    const path = join(folder, 'a')
    await writeFileAtomic(path, 'old')
    await expect(writeFileAtomic(path, 'new')).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    expect(await readFile(path, 'utf8')).toBe('old')
    await writeFileAtomic(path, 'new', { force: true })
    expect(await readFile(path, 'utf8')).toBe('new')
  })

  it('should let exactly one of many writers win', async () => {
    const path = join(folder, 'a')
    const results = await Promise.allSettled([1, 2, 3, 4].map((i) => writeFileAtomic(path, `writer ${i}`)))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await readdir(folder)).toEqual(['a'])
  })

  it('should leave nothing behind when the data fails midway', async () => {
    async function* broken() {
      yield new Uint8Array([1])
      throw new Error('source failed')
    }
    await expect(writeFileAtomic(join(folder, 'a'), broken())).rejects.toThrow('source failed')
    expect(await readdir(folder)).toEqual([])
  })

  it('should make missing parent folders, and take them away when the write fails', async () => {
    await writeFileAtomic(join(folder, 'x', 'y', 'a'), 'x')
    expect(await readFile(join(folder, 'x', 'y', 'a'), 'utf8')).toBe('x')
    const broken = (async function* () {
      yield new Uint8Array([1])
      throw new Error('source failed')
    })()
    await expect(writeFileAtomic(join(folder, 'x', 'z', 'z', 'a'), broken)).rejects.toThrow('source failed')
    expect(await readdir(join(folder, 'x'))).toEqual(['y'])
  })

  it('should refuse a folder and what lies below a file, with force too', async () => {
    await writeFileAtomic(join(folder, 'a'), 'x')
    for (const force of [false, true]) {
      await expect(writeFileAtomic(folder, 'x', { force })).rejects.toMatchObject({
        code: 'FILE_EXISTS',
        message: expect.stringContaining('name a file in it'),
      })
      await expect(writeFileAtomic(join(folder, 'a', 'b'), 'x', { force })).rejects.toMatchObject({
        code: 'FILE_EXISTS',
      })
      await expect(publishFolder(join(folder, 'a'), async () => {}, { force })).rejects.toMatchObject({
        code: 'FILE_EXISTS',
        message: expect.stringContaining('found a file'),
      })
    }
    expect(await readdir(folder)).toEqual(['a'])
  })
})

describe('writeFileAtomic over something else', () => {
  it('should write to what a link leads to, and keep the link', async () => {
    const [real, link] = [join(folder, 'elsewhere', 'a'), join(folder, 'link')]
    await writeFileAtomic(real, 'old')
    await symlink(real, link)
    await expect(writeFileAtomic(link, 'new')).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    await writeFileAtomic(link, 'new', { force: true })
    expect(await readFile(real, 'utf8')).toBe('new')
    expect((await lstat(link)).isSymbolicLink()).toBe(true)
    expect(await readdir(join(folder, 'elsewhere'))).toEqual(['a'])
  })

  it('should leave dead links and what is no file alone, with force too', async () => {
    const [dead, pipe] = [join(folder, 'dead'), join(folder, 'pipe')]
    await symlink(join(folder, 'nowhere'), dead)
    await promisify(execFile)('mkfifo', [pipe])
    for (const [path, what] of [
      [dead, /a link that leads nowhere/],
      [pipe, /a device, pipe or socket/],
      [`${folder}/new/`, /name for a file/],
    ] as const) {
      const refused = { code: 'FILE_EXISTS', message: expect.stringMatching(what) }
      await expect(writeFileAtomic(path, 'x', { force: true })).rejects.toMatchObject(refused)
      await expect(checkOutputFree(path, { force: true })).rejects.toMatchObject(refused)
    }
    expect((await lstat(pipe)).isFIFO()).toBe(true)
    expect((await readdir(folder)).sort()).toEqual(['dead', 'pipe'])
  })
})

describe('checkOutputFree', () => {
  it('should never give away what the output is made of', async () => {
    const [prompts, run] = [join(folder, 'prompts.txt'), join(folder, 'run')]
    const inputs = [undefined, prompts, run]
    await writeFileAtomic(prompts, 'hello')
    for (const name of ['trajectory.json', 'report.html']) await writeFileAtomic(join(run, name), 'x')
    await symlink(prompts, join(folder, 'link'))
    for (const taken of [prompts, join(folder, 'link'), join(run, 'trajectory.json')]) {
      const check = checkOutputFree(taken, { force: true, inputs })
      await expect(check).rejects.toMatchObject({ message: expect.stringMatching(/than what it is made of/) })
    }
    const earlier = checkOutputFree(join(run, 'trajectory.json'), { force: true, inputs })
    await expect(earlier).rejects.toMatchObject({ message: expect.stringContaining(`is read (${run})`) })
    for (const free of ['report.html', 'new.json'])
      await checkOutputFree(join(run, free), { force: true, inputs })
    await checkOutputFree(prompts, { force: true, inputs: [run] })
  })

  it('should take a name whose parents are missing, and refuse one that cannot be written', async () => {
    await checkOutputFree(join(folder, 'x', 'y', 'a'))
    expect(await readdir(folder)).toEqual([])
    await writeFileAtomic(join(folder, 'a'), 'x')
    for (const marker of [undefined, 'directions.json']) {
      const options = marker === undefined ? {} : { marker }
      await expect(checkOutputFree(join(folder, 'a', 'b', 'c'), options)).rejects.toMatchObject({
        code: 'FILE_EXISTS',
      })
      await expect(checkOutputFree(join(folder, 'a'), options)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    }
  })
})

describe('publishFolder', () => {
  it('should leave what others put there, and take a folder that holds nothing else', async () => {
    const options = { marker: 'directions.json', keep: /^(grades\.json|more)$/ }
    const out = join(folder, 'kept')
    await mkdir(join(out, 'more'), { recursive: true })
    await writeFile(join(out, 'grades.json'), 'paid for')
    await writeFile(join(out, 'more', 'file'), 'too')
    const publish = (text: string, force: boolean) =>
      publishFolder(out, (into) => writeFile(join(into, 'directions.json'), text), { ...options, force })
    await checkOutputFree(out, options)
    await publish('1', false)
    await expect(publish('2', false)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    await writeFile(join(out, 'stale.json'), '')
    await publish('2', true)
    expect((await readdir(out, { recursive: true })).sort()).toEqual([
      'directions.json',
      'grades.json',
      'more',
      join('more', 'file'),
    ])
    const read = (name: string) => readFile(join(out, name), 'utf8')
    expect([await read('directions.json'), await read('grades.json')]).toEqual(['2', 'paid for'])
  })

  it.each([
    new RangeError('mine'),
    Object.assign(new Error('mine'), { code: 'ECONNREFUSED' }),
    Object.assign(new Error('mine'), { code: 'ENOENT', path: '/elsewhere' }),
  ])('should give back what its writer throws', async (thrown) => {
    const publish = publishFolder(join(folder, 'x', 'out'), () => Promise.reject(thrown))
    await expect(publish).rejects.toBe(thrown)
    expect(await readdir(folder)).toEqual([])
  })

  it('should replace what a link leads to, and refuse a link that leads nowhere', async () => {
    await mkdir(join(folder, 'real'))
    await symlink(join(folder, 'real'), join(folder, 'link'))
    await publishFolder(join(folder, 'link'), (into) => writeFile(join(into, 'directions.json'), '1'))
    expect(await readFile(join(folder, 'real', 'directions.json'), 'utf8')).toBe('1')
    await symlink(join(folder, 'gone'), join(folder, 'dangling'))
    for (const act of [checkOutputFree, (path: string) => publishFolder(path, async () => {})]) {
      await expect(act(join(folder, 'dangling'), { marker: 'x' })).rejects.toMatchObject({
        code: 'FILE_EXISTS',
        message: expect.stringContaining('leads nowhere'),
      })
    }
  })

  const write = (text: string) => (into: string) => writeFile(join(into, 'directions.json'), text)

  it('should publish all files or none', async () => {
    const path = join(folder, 'out')
    await expect(
      publishFolder(path, async (into) => {
        await writeFile(join(into, 'half'), 'x')
        throw new Error('failed')
      }),
    ).rejects.toThrow('failed')
    expect(await readdir(folder)).toEqual([])
    await publishFolder(path, write('1'))
    expect(await readdir(folder)).toEqual(['out'])
    expect(await readFile(join(path, 'directions.json'), 'utf8')).toBe('1')
  })

  it('should take an empty folder, and replace its own output only with force', async () => {
    const path = join(folder, 'out')
    await mkdir(path)
    await publishFolder(path, write('1'))
    await expect(publishFolder(path, write('2'))).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    await publishFolder(path, write('3'), { force: true, marker: 'directions.json' })
    expect(await readFile(join(path, 'directions.json'), 'utf8')).toBe('3')
    expect(await readdir(folder)).toEqual(['out'])
  })

  it('should never replace a folder that is not its own, even with force', async () => {
    const path = join(folder, 'thesis')
    await mkdir(path)
    await writeFile(join(path, 'chapter-1'), 'years of work')
    const options = { force: true, marker: 'directions.json' }
    await expect(publishFolder(path, write('x'), options)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    expect(await readdir(path)).toEqual(['chapter-1'])
  })

  it('should refuse the name of a file', async () => {
    await writeFile(join(folder, 'file'), 'x')
    await expect(publishFolder(join(folder, 'file'), write('x'))).rejects.toMatchObject({
      code: 'FILE_EXISTS',
    })
  })
})
