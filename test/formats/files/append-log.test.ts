import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFile,
  type FileHandle,
  link,
  mkdtemp,
  open,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { TraitscopeError } from '../../../lib/errors.js'
import { AppendLog, type LogOptions, readLog } from '../../../lib/formats/files/append-log.js'

interface Entry {
  id: string
  text: string
}

const OPTIONS: LogOptions<Entry> = {
  key: ({ id }) => id,
  parse: (value, where) => {
    const { id, text } = value as Partial<Entry>
    if (typeof id === 'string' && typeof text === 'string') return { id, text }
    throw new TraitscopeError('FILE_INVALID', `expected an id and a text in ${where}`)
  },
}

const RECORDS: Entry[] = [
  { id: 'a', text: 'first' },
  { id: 'b', text: 'zwölf Boxkämpfer 🙂\n"}\u2028' },
  { id: 'a', text: 'second' },
  { id: '{"', text: '' },
]

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-log-'))
  path = join(folder, 'state', 'log.jsonl')
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true, force: true })
})

const byKey = (records: readonly Entry[]) => new Map(records.map((record) => [record.id, record]))

async function written(records: readonly Entry[] = RECORDS): Promise<Buffer> {
  await using log = await AppendLog.open(path, OPTIONS)
  await Promise.all(records.map((record) => log.append(record)))
  return readFile(path)
}

describe('AppendLog', () => {
  it('should keep the last record of every key, in the order of the keys', async () => {
    await written()
    await using log = await AppendLog.open(path, OPTIONS)
    expect([...log.records]).toEqual([...byKey(RECORDS)])
    expect(log.repaired).toBe(0)
    await log.append({ id: 'b', text: 'new' })
    expect(log.records.get('b')).toEqual({ id: 'b', text: 'new' })
    expect((await readFile(path, 'utf8')).split('\n')).toHaveLength(RECORDS.length + 2)
  })

  it('should have lost nothing but an unfinished record, wherever it was cut', async () => {
    const bytes = await written()
    const ends = RECORDS.map((_, i) => nthEnd(bytes, i + 1))
    for (let cut = 0; cut <= bytes.length; cut++) {
      await writeFile(path, bytes.subarray(0, cut))
      // A record without its line end is whole: nothing but an object ends as one.
      const whole = ends.filter((end) => end - 1 <= cut).length
      const kept = byKey(RECORDS.slice(0, whole))
      expect(await readLog(path, OPTIONS)).toEqual(kept)
      {
        await using log = await AppendLog.open(path, OPTIONS)
        expect(log.records).toEqual(kept)
        const rest = cut - (ends[whole - 1] ?? 0)
        expect(log.repaired).toBe(Math.max(0, rest))
        await log.append({ id: 'after', text: `${cut}` })
      }
      const lines = (await readFile(path, 'utf8')).split('\n')
      expect(lines.pop()).toBe('')
      expect(lines.map((line) => JSON.parse(line))).toEqual([
        ...RECORDS.slice(0, whole),
        { id: 'after', text: `${cut}` },
      ])
    }
  })

  it('should take an end of zeros for one, which a power failure leaves', async () => {
    const bytes = await written()
    await appendFile(path, Buffer.alloc(100))
    await using log = await AppendLog.open(path, OPTIONS)
    expect(log.repaired).toBe(100)
    expect(await readFile(path)).toEqual(bytes)
  })

  it.each([
    ['a line that is no JSON', 'x\n', /line 5 .* found "x"/],
    ['a line that is no object', '[1]\n', /line 5 /],
    ['a line that is no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d, 10]), /line 5 /],
    ['a record of another kind', '{"id":7}\n', /an id and a text in line 5 /],
    ['a text without an end that is no record', 'my notes', /line 5 .* found "my notes"/],
  ])('should leave a file with %s as it is', async (_, tail, message) => {
    const bytes = await written()
    await appendFile(path, tail)
    const expected = { code: 'FILE_INVALID', message: expect.stringMatching(message) }
    await expect(AppendLog.open(path, OPTIONS)).rejects.toMatchObject(expected)
    await expect(readLog(path, OPTIONS)).rejects.toMatchObject(expected)
    expect(await readFile(path)).toEqual(Buffer.concat([bytes, Buffer.from(tail)]))
    // Nobody holds it after that.
    await writeFile(path, bytes)
    await (await AppendLog.open(path, OPTIONS)).close()
  })

  it('should refuse a second writer under every name, and let readers in', async () => {
    await using log = await AppendLog.open(path, OPTIONS)
    await log.append(RECORDS[0]!)
    await symlink(path, join(folder, 'link'))
    await link(path, join(folder, 'other'))
    for (const name of [path, join(folder, 'link'), join(folder, 'other')]) {
      await expect(AppendLog.open(name, OPTIONS)).rejects.toMatchObject({
        code: 'FILE_ACCESS',
        message: expect.stringMatching(/only writer/),
      })
      expect(await readLog(name, OPTIONS)).toEqual(byKey([RECORDS[0]!]))
    }
    await log.close()
    await (await AppendLog.open(path, OPTIONS)).close()
    await expect(log.append(RECORDS[0]!)).rejects.toMatchObject({ code: 'USAGE' })
    await log.close()
  })

  it('should write no further when the file is not the one that it left', async () => {
    const changes = [
      () => appendFile(path, '{"id":"x","text":"y"}\n'),
      () => writeFile(path, ''),
      () => rm(path),
    ]
    for (const change of changes) {
      await written()
      await using log = await AppendLog.open(path, OPTIONS)
      await change()
      for (let i = 0; i < 2; i++) {
        await expect(log.append({ id: 'z', text: '' })).rejects.toMatchObject({ code: 'FILE_VANISHED' })
      }
      expect(log.records.has('z')).toBe(false)
      await log.close()
      await rm(path, { force: true })
    }
  })

  it('should be as it was when the disk is full, and go on when there is room', async () => {
    const bytes = await written()
    await using log = await AppendLog.open(path, OPTIONS)
    const full = Object.assign(new Error('no space'), { code: 'ENOSPC' })
    const handle = await open(path)
    const prototype = Object.getPrototypeOf(handle) as FileHandle
    await handle.close()
    const write = prototype.write
    vi.spyOn(prototype, 'write').mockImplementationOnce(async function (
      this: FileHandle,
      ...[buffer, offset, length, position]: unknown[]
    ) {
      await Reflect.apply(write, this, [buffer, offset, (length as number) - 3, position])
      throw full
    } as never)
    const record = { id: 'full', text: 'x' }
    await expect(log.append(record)).rejects.toMatchObject({
      code: 'FILE_ACCESS',
      message: expect.stringMatching(/no space/),
    })
    expect(log.records.has('full')).toBe(false)
    expect(await readFile(path)).toEqual(bytes)
    await log.append(record)
    expect(await readLog(path, OPTIONS)).toEqual(byKey([...RECORDS, record]))
  })

  it('should have every record that a killed process was told of', async () => {
    let told = 0
    for (let kill = 0; kill < 12; kill++) {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'append-for-ever.mjs'), path], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      told = Math.max(told, await killAfter(child, 1 + 17 * kill))
      await using log = await AppendLog.open(path, OPTIONS)
      const ids = [...log.records.keys()].map(Number)
      expect(ids).toEqual(ids.map((_, i) => i))
      expect(ids.length).toBeGreaterThanOrEqual(told)
      for (const { text } of log.records.values()) expect(text).toMatch(/^x+$/)
    }
    expect(told).toBeGreaterThan(100)
  })
})

/** Offset behind the n-th line. */
function nthEnd(bytes: Buffer, n: number): number {
  let end = 0
  for (let i = 0; i < n; i++) end = bytes.indexOf(10, end) + 1
  return end
}

/** Kills a writer as soon as it says that it has written so many records; returns how many it had said in the end. */
async function killAfter(child: ChildProcess, records: number): Promise<number> {
  let said = 0
  let seen = 0
  for await (const line of createInterface({ input: child.stdout! })) {
    said = Math.max(said, Number(line))
    if (++seen === records) {
      await expect(AppendLog.open(path, OPTIONS)).rejects.toMatchObject({ code: 'FILE_ACCESS' })
      child.kill('SIGKILL')
    }
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return said
}
