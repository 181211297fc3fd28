import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import {
  addBackend,
  addedFile,
  backendFiles,
  keptFolders,
  publishedBackend,
  removeBackend,
} from '../../lib/backends/backends.js'
import { PUBLISHED, type PublishedBackend } from '../../lib/backends/published.js'
import { missingLibraries } from '../../lib/backends/system.js'
import { packageRoot } from '../../lib/package.js'
import { runCli } from '../helpers/child.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-backends-'))
const path = process.env.PATH
afterEach(() => {
  process.env.PATH = path
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const onLinux = process.platform === 'linux' && process.arch === 'x64'

/** A backend as it is published, with what npm will bring: the tarball, or other bytes. */
function fake(name: string, brings?: Buffer): { backend: PublishedBackend; cache: string } {
  const home = join(folder, name)
  const content = join(home, 'package', 'bins')
  mkdirSync(content, { recursive: true })
  for (const library of ['libggml-fake.so', 'libggml-base.so']) writeFileSync(join(content, library), library)
  const tarball = join(home, 'whole.tgz')
  spawnSync('tar', ['-czf', tarball, '-C', home, 'package'])
  const integrity = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`
  if (brings) writeFileSync(tarball, brings)
  const program = join(home, 'path', 'npm')
  mkdirSync(join(home, 'path'))
  writeFileSync(
    program,
    `#!/bin/sh\nwhile [ "$1" != --pack-destination ]; do shift; done\ncp "${tarball}" "$2/fake-1.0.0.tgz"\n`,
  )
  chmodSync(program, 0o755)
  process.env.PATH = `${join(home, 'path')}${delimiter}${path}`
  const backend: PublishedBackend = {
    ...{ name: 'fake', platform: 'linux-x64', spec: 'fake@1.0.0', file: 'fake-1.0.0.tgz', integrity },
    ...{ downloadBytes: 1, keptBytes: 1, folder: 'package/bins/', system: [], glibc: '2.0' },
    libraries: ['libggml-fake.so', 'libggml-base.so'],
  }
  return { backend, cache: join(home, 'cache') }
}

describe('backendFiles', () => {
  it('should take what the environment names, by its whole path alone', () => {
    expect(backendFiles({}, join(folder, 'none'))).toEqual({ added: [] })
    const library = join(folder, 'lib.so')
    writeFileSync(library, '')
    expect(backendFiles({ TRAITSCOPE_BACKEND: library }, join(folder, 'none'))).toEqual({
      named: { name: 'TRAITSCOPE_BACKEND', path: library },
      added: [],
    })
    for (const relative of ['lib.so', './lib.so', '../lib.so'])
      expect(() => backendFiles({ TRAITSCOPE_BACKEND: relative })).toThrow(
        expect.objectContaining({ code: 'USAGE', message: expect.stringContaining('absolute path') }),
      )
    expect(() => backendFiles({ TRAITSCOPE_BACKEND: join(folder, 'gone.so') })).toThrow(
      expect.objectContaining({ code: 'FILE_NOT_FOUND' }),
    )
  })

  it.runIf(onLinux)('should find what was added, but not in a cache of the working directory', () => {
    const backend = publishedBackend('vulkan')
    const cache = join(folder, 'found')
    const home = join(cache, 'backends', backend.file.replace('.tgz', ''))
    mkdirSync(home, { recursive: true })
    writeFileSync(join(home, backend.libraries[0]), '')
    expect(backendFiles({}, cache).added).toEqual([
      { name: 'vulkan', path: join(home, backend.libraries[0]) },
    ])
    const before = process.cwd()
    process.chdir(folder)
    try {
      expect(backendFiles({}, 'found').added).toEqual([])
    } finally {
      process.chdir(before)
    }
  })
})

describe.runIf(onLinux)('addBackend', () => {
  it('should keep the libraries of the checked package, and nothing else', async () => {
    const { backend, cache } = fake('good')
    const added = await addBackend(backend, cache)
    expect(added).toBe(join(cache, 'backends', 'fake-1.0.0', 'libggml-fake.so'))
    expect(readdirSync(join(cache, 'backends', 'fake-1.0.0')).sort()).toEqual([
      'libggml-base.so',
      'libggml-fake.so',
    ])
    expect(readFileSync(added, 'utf8')).toBe('libggml-fake.so')
    process.env.PATH = '' // no npm is asked twice
    expect(await addBackend(backend, cache)).toBe(added)
    expect(await removeBackend(backend, cache)).toBe('libggml-fake.so'.length + 'libggml-base.so'.length)
    expect(addedFile(backend, cache)).toBeUndefined()
    expect(await removeBackend(backend, cache)).toBe(0)
  })

  it('should refuse other bytes than were published, and keep none', async () => {
    const { backend, cache } = fake('tampered', Buffer.from('tampered'))
    await expect(addBackend(backend, cache)).rejects.toMatchObject({
      code: 'DOWNLOAD',
      message: expect.stringMatching(/fake@1\.0\.0 has integrity sha512-.*, expected sha512-/),
    })
    expect(keptFolders(cache)).toEqual([])
  })

  it('should say what npm said when it brings nothing', async () => {
    const { backend, cache } = fake('offline')
    writeFileSync(join(folder, 'offline/path/npm'), '#!/bin/sh\necho no network >&2\nexit 1\n')
    await expect(addBackend(backend, cache)).rejects.toMatchObject({
      code: 'DOWNLOAD',
      message: expect.stringMatching(/Check the network or npm registry settings[\s\S]*no network/),
    })
    expect(keptFolders(cache)).toEqual([])
  })

  it('should remove those of other versions too, and of no other name', async () => {
    const { backend, cache } = fake('versions')
    for (const name of ['fake-0.9.0', 'fake-ext-1.0.0'])
      mkdirSync(join(cache, 'backends', name), { recursive: true })
    writeFileSync(join(cache, 'backends/fake-0.9.0/libggml-fake.so'), 'old')
    expect(addedFile(backend, cache)).toBeUndefined()
    expect(await removeBackend(backend, cache)).toBe(3)
    expect(keptFolders(cache)).toEqual(['fake-ext-1.0.0'])
  })
})

describe('published backends', () => {
  it('should be named nowhere in package.json, and pinned', () => {
    const manifest = readFileSync(join(packageRoot, 'package.json'), 'utf8')
    expect(manifest).not.toContain('node-llama-cpp')
    for (const { spec, integrity } of PUBLISHED) {
      expect(spec).toMatch(/@\d+\.\d+\.\d+$/)
      expect(Buffer.from(integrity.replace('sha512-', ''), 'base64').length).toBe(64)
    }
  })

  // They are built from the very llama.cpp that is compiled here: one package, one version.
  it('should be of the release that the source is taken from', () => {
    const source = readFileSync(join(packageRoot, 'scripts/llama-source.mjs'), 'utf8')
    const version = /spec: 'node-llama-cpp@([\d.]+)'/.exec(source)![1]
    expect(new Set(PUBLISHED.map(({ spec }) => spec.split('@').at(-1)))).toEqual(new Set([version]))
  })

  it('should be refused by name where there is none', () => {
    expect(() => publishedBackend('metal', 'linux-x64')).toThrow(
      /there are vulkan and cuda; TRAITSCOPE_BACKEND/,
    )
    expect(() => publishedBackend('vulkan', 'freebsd-x64')).toThrow(/there is none for this platform/)
  })

  it.runIf(onLinux)('should say what of the system is missing, and from where it comes', () => {
    const backend = { ...publishedBackend('cuda'), glibc: '99.0' }
    const system = [
      { library: 'libc.so.6', from: 'here' },
      { library: 'libnobody-has-this.so.7', from: 'nowhere' },
    ]
    const missing = missingLibraries({ ...backend, system })
    expect(missing[0]).toBe('libnobody-has-this.so.7: nowhere')
    expect(missing[1]).toMatch(/^glibc 99\.0 or newer, found 2\.\d+$/)
    expect(missing.length).toBe(2)
  })
})

describe.runIf(onLinux)('traitscope backend', () => {
  const env = { XDG_CACHE_HOME: join(folder, 'cli') }

  it('should say what adding one takes before it fetches anything', async () => {
    const { code, stdout, stderr } = await runCli(['backend', 'add', 'cuda', '--dry-run', '--json'], { env })
    expect(code).toBe(0)
    expect(stderr).toMatch(
      /@node-llama-cpp\/linux-x64-cuda@[\d.]+ \(MIT\): 136 MiB to fetch, 153 MiB to keep/,
    )
    const { missing } = JSON.parse(stdout)
    for (const each of missing) expect(stderr).toContain(`missing on this system: ${each}`)
    expect(existsSync(join(folder, 'cli', 'traitscope', 'backends'))).toBe(false)
  })

  it('should list what there is, and what was added by another version', async () => {
    mkdirSync(join(folder, 'cli', 'traitscope', 'backends', 'node-llama-cpp-linux-x64-vulkan-0.0.1'), {
      recursive: true,
    })
    const { code, stdout } = await runCli(['backend', 'list', '--json'], { env })
    expect(code).toBe(0)
    const { backends, older } = JSON.parse(stdout)
    expect(backends.map(({ name, loaded }: { name: string; loaded: boolean }) => [name, loaded])).toEqual([
      ['vulkan', false],
      ['cuda', false],
    ])
    expect(older).toEqual(['node-llama-cpp-linux-x64-vulkan-0.0.1'])
    expect((await runCli(['backend', 'remove', 'vulkan'], { env })).stdout).toContain('vulkan')
    expect((await runCli(['backend', 'list'], { env })).stdout).not.toContain('older')
  })

  it('should refuse a name that there is not', async () => {
    const { code, stderr } = await runCli(['backend', 'add', 'metal'], { env })
    expect(code).toBe(1)
    expect(stderr).toMatch(/there are vulkan and cuda.*\[UNSUPPORTED\]/)
  })

  it('should be answered by a build that has its backends linked in with what it takes', async () => {
    const library = join(folder, 'libggml-some.so')
    writeFileSync(library, '')
    const { code, stdout } = await runCli(['doctor', '--json'], {
      env: { ...env, TRAITSCOPE_BACKEND: library },
    })
    expect(code).toBe(1)
    const [problem] = JSON.parse(stdout).problems
    expect(problem).toMatch(
      /TRAITSCOPE_BACKEND \(.*\) could not be loaded: (the backends of .* are linked in; .*--portable|.*no shared library)/,
    )
  })
})
