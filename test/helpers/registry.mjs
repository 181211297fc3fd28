// A package registry on loopback that serves tarballs: enough of the protocol for npm, pnpm and Yarn to install from it.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { basename, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { root } from '../../scripts/llama-source.mjs'
import { tarEntry } from '../../scripts/npm-package.mjs'
import { mainPackage, PLATFORMS, packageOfLocalBuild, writePlatformPackage } from '../../scripts/packages.mjs'

/** Serves these tarballs and nothing else; what is asked for beside them is answered with 404. */
export async function serveRegistry(tarballs) {
  const packages = new Map(tarballs.map(read).map((each) => [each.manifest.name, each]))
  const downloads = []
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://registry').pathname).slice(1)
    const [name, file] = path.split('/-/')
    const found = packages.get(name)
    if (!found || (file && file !== fileOf(found.manifest))) {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}')
    } else if (file) {
      downloads.push(name)
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(found.bytes)
    } else {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document(found)))
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${server.address().port}/`

  function document({ manifest, bytes }) {
    const { name, version } = manifest
    const hash = (kind, encoding) => createHash(kind).update(bytes).digest(encoding)
    const dist = {
      tarball: `${url}${name}/-/${fileOf(manifest)}`,
      integrity: `sha512-${hash('sha512', 'base64')}`,
      shasum: hash('sha1', 'hex'),
    }
    return {
      name,
      'dist-tags': { latest: version },
      versions: { [version]: { ...manifest, _id: `${name}@${version}`, dist } },
      time: { [version]: '2026-01-01T00:00:00.000Z' },
    }
  }

  return {
    url,
    /** Names of the packages whose tarballs were fetched. */
    downloads,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve)
        server.closeAllConnections()
      }),
  }
}

const fileOf = ({ name, version }) => `${name.split('/').at(-1)}-${version}.tgz`

function read(tarball) {
  const bytes = readFileSync(tarball)
  return { bytes, manifest: JSON.parse(tarEntry(gunzipSync(bytes), 'package/package.json').toString()) }
}

/** Packs a folder as it is; `npm pack` would do so too, and take a second each. */
export function packAsItIs(folder, file) {
  const stage = `${file}.stage`
  cpSync(folder, join(stage, 'package'), {
    recursive: true,
    filter: (path) => basename(path) !== 'node_modules' || path === folder,
  })
  const run = spawnSync('tar', ['-czf', file, '-C', stage, 'package'], { encoding: 'utf8' })
  rmSync(stage, { recursive: true })
  if (run.status !== 0) throw new Error(`tar of ${folder}: ${run.stderr ?? run.error}`)
  return file
}

/** Tarballs of installed packages, as they lie in a node_modules folder, and of what they depend on. */
export function tarballsOf(names, modules, destination) {
  const made = new Map()
  const visit = (name) => {
    if (made.has(name)) return
    made.set(name, packAsItIs(join(modules, name), join(destination, `${name.replace('/', '+')}.tgz`)))
    const { dependencies = {} } = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'))
    for (const each of Object.keys(dependencies)) visit(each)
  }
  for (const name of names) visit(name)
  return [...made.values()]
}

/**
 * A registry with everything that a user installs: the package as it is published, what it depends on, and the packages of all
 * platforms, this one's with an addon in it and the others empty.
 */
export async function serveRelease(folder, fillPlatform = packageOfLocalBuild) {
  const tarballs = join(folder, 'tarballs')
  mkdirSync(tarballs, { recursive: true })
  mainPackage(join(folder, 'main'))
  const platforms = Object.keys(PLATFORMS).map((platform) => {
    const stage = join(folder, platform)
    mkdirSync(stage)
    if (platform === `${process.platform}-${process.arch}`) fillPlatform(stage)
    else writePlatformPackage(stage, platform)
    return packAsItIs(stage, join(tarballs, `${platform}.tgz`))
  })
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const others = Object.keys({ ...dependencies, ...optionalDependencies })
  return serveRegistry([
    packAsItIs(join(folder, 'main'), join(tarballs, 'main.tgz')),
    ...platforms,
    ...tarballsOf(others, join(root, 'node_modules'), tarballs),
  ])
}
