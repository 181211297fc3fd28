// Installs traitscope as its users do, from a registry on loopback that serves what would be published, into empty folders, without a
// compiler on the PATH: `doctor`, `demo`, import and require must work, and without the platform's package the error must name
// the command that cures it.
//
//   node scripts/test-install.mjs                     npm 12, pnpm, Yarn (node_modules and Plug'n'Play), Yarn 1, on Node 22
//   node scripts/test-install.mjs --with npm,pnpm     these; `npm` is the machine's, on the Node that runs this
//
// The addon is the portable one of `npm run prebuildify` where that was made, else this checkout's own build. Node and the package
// managers come from npm, into the system's folder for temporary files, and are deleted afterwards.
import { spawn, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { serveRelease } from '../test/helpers/registry.mjs'
import { root } from './llama-source.mjs'
import { npmEnvironment, runOrExplain, SetupError } from './npm-package.mjs'
import { packageOfLocalBuild, releases } from './packages.mjs'

const platform = `${process.platform}-${process.arch}`
const onWindows = process.platform === 'win32'
const TOOLS = {
  node: `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}@22`,
  npm12: 'npm@12',
  pnpm: 'pnpm@11', // the last that is JavaScript: pnpm 12 puts its program there by a script of its installation
  yarn: '@yarnpkg/cli-dist@4',
  yarn1: 'yarn@1',
}

/** How each installs, leaves out what is optional, and runs our command. `tool` finds the file of a package manager. */
const MANAGERS = {
  npm: {
    cli: () => machinesNpm(),
    add: ['install', 'traitscope', '--ignore-scripts', '--no-audit', '--no-fund'],
    omit: ['--omit=optional'],
    exec: ['exec', '--no', '--', 'traitscope'],
  },
  npm12: {
    cli: (tool) => tool('npm12', 'npm', 'bin/npm-cli.js'),
    add: ['install', 'traitscope', '--no-audit', '--no-fund'],
    omit: ['--omit=optional'],
    exec: ['exec', '--no', '--', 'traitscope'],
  },
  pnpm: {
    cli: (tool) => tool('pnpm', 'pnpm'),
    add: ['add', 'traitscope'],
    omit: ['--no-optional'],
    exec: ['exec', 'traitscope'],
  },
  yarn: {
    cli: (tool) => tool('yarn', '@yarnpkg/cli-dist', 'bin/yarn.js'),
    rc: 'nodeLinker: node-modules\n',
    add: ['add', 'traitscope'],
    exec: ['traitscope'],
  },
  'yarn-pnp': {
    cli: (tool) => tool('yarn', '@yarnpkg/cli-dist', 'bin/yarn.js'),
    rc: 'nodeLinker: pnp\n',
    add: ['add', 'traitscope'],
    exec: ['traitscope'],
    node: ['node'],
  },
  yarn1: {
    cli: (tool) => tool('yarn1', 'yarn', 'bin/yarn.js'),
    add: ['add', 'traitscope'],
    omit: ['--ignore-optional'],
    exec: ['--silent', 'traitscope'],
  },
}

function machinesNpm() {
  const found = (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, onWindows ? 'npm.cmd' : 'npm'))
    .find(existsSync)
  if (!found) throw new SetupError('npm is not on the PATH')
  const real = realpathSync(found)
  return real.endsWith('.js') ? real : join(dirname(real), 'node_modules/npm/bin/npm-cli.js')
}

const work = mkdtempSync(join(tmpdir(), 'traitscope-install-'))

/** Installs what `names` need of TOOLS, each into a folder of its own. */
function fetchTool(name) {
  const folder = join(work, 'tools', name)
  if (existsSync(folder)) return folder
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  runOrExplain('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', TOOLS[name]], {
    ...{ cwd: folder, env: npmEnvironment(), shell: onWindows },
    hint: 'Check the network or npm registry settings.',
  })
  return folder
}

function toolFile(name, packageName, file) {
  const require = createRequire(join(fetchTool(name), 'x.js'))
  const modules = join(fetchTool(name), 'node_modules', packageName)
  if (file) return join(modules, file)
  const { bin } = require(join(modules, 'package.json'))
  return join(modules, typeof bin === 'string' ? bin : bin[packageName])
}

function secondNode() {
  const name = TOOLS.node.split('@')[0]
  return join(fetchTool('node'), 'node_modules', name, 'bin', onWindows ? 'node.exe' : 'node')
}

function portable(folder) {
  cpSync(join(releases, platform), folder, { recursive: true })
}

async function tryManager(name, registry) {
  const manager = MANAGERS[name]
  const node = name === 'npm' ? process.execPath : secondNode()
  const folder = join(work, name)
  const path = join(folder, 'path')
  mkdirSync(path, { recursive: true })
  if (!onWindows) {
    symlinkSync(node, join(path, 'node'))
    symlinkSync(realpathSync('/bin/sh'), join(path, 'sh'))
  }
  const cli = manager.cli(toolFile)
  const env = {
    ...(onWindows ? process.env : { PATH: path }),
    ...{ HOME: folder, XDG_CACHE_HOME: join(folder, 'cache'), XDG_DATA_HOME: join(folder, 'data'), CI: '1' },
    ...{
      npm_config_registry: registry.url,
      npm_config_cache: join(folder, 'npm'),
      YARN_ENABLE_IMMUTABLE_INSTALLS: '0',
    },
    ...{ YARN_CACHE_FOLDER: join(folder, 'yarn'), YARN_ENABLE_TELEMETRY: '0', NO_UPDATE_NOTIFIER: '1' },
  }
  const run = (args, cwd) =>
    new Promise((resolve) => {
      const child = spawn(node, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
      child.on('close', (code) => resolve({ code, output }))
    })
  const must = async (what, args, cwd, expected = /^/) => {
    const { code, output } = await run(args, cwd)
    if (code !== 0 || !expected.test(output))
      throw new SetupError(`${name}: ${what} ended with ${code}:\n${output}`)
    return output
  }
  const project = (as) => {
    const app = join(folder, as)
    mkdirSync(app)
    writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true }\n')
    writeFileSync(join(app, '.npmrc'), `registry=${registry.url}\n`)
    if (manager.rc) {
      writeFileSync(join(app, 'yarn.lock'), '')
      writeFileSync(
        join(app, '.yarnrc.yml'),
        `npmRegistryServer: "${registry.url}"\nunsafeHttpWhitelist: ["127.0.0.1"]\nenableGlobalCache: false\n${manager.rc}`,
      )
    }
    return app
  }
  const app = project('app')
  const version = (await must('--version', [cli, '--version'], app)).trim().split('\n').at(-1)
  await must('the installation', [cli, ...manager.add], app)
  await must(
    'doctor',
    [cli, ...manager.exec, 'doctor'],
    app,
    /platform package \(passed over: .*\n[\s\S]*no problems found/,
  )
  await must('demo', [cli, ...manager.exec, 'demo', '--speed', '0', '-q'], app)
  const body =
    'const { openModel, diagnose } = NAME; console.log(typeof openModel, diagnose().problems.length)\n'
  writeFileSync(join(app, 'app.mjs'), `import * as all from 'traitscope'\n${body.replace('NAME', 'all')}`)
  writeFileSync(join(app, 'app.cjs'), body.replace('NAME', "require('traitscope')"))
  const runner = manager.node ? [cli, ...manager.node] : []
  for (const file of ['app.mjs', 'app.cjs']) await must(file, [...runner, file], app, /^function 0$/m)
  return `${version}, Node ${(await must('node', ['--version'], app)).trim()}; ${await cure()}`

  /** Without the platform's package: the error names a command, and that one works. */
  async function cure() {
    if (!manager.omit) return 'cannot leave optional packages out'
    const bare = project('bare')
    await must('the installation without optional packages', [cli, ...manager.add, ...manager.omit], bare)
    const { code, output } = await run([cli, ...manager.exec, 'doctor'], bare)
    const command = /left out as an optional dependency: `(\w+) (.+)`/.exec(output)
    if (code !== 1 || !command)
      throw new SetupError(`${name}: doctor without it ended with ${code}:\n${output}`)
    await must('the cure', [cli, ...command[2].split(' ')], bare)
    await must('doctor after the cure', [cli, ...manager.exec, 'doctor'], bare, /no problems found/)
    return `without it: \`${command[1]} ${command[2]}\`, which works`
  }
}

async function main([flag, list]) {
  const names = flag === '--with' ? list.split(',') : Object.keys(MANAGERS).filter((name) => name !== 'npm')
  const unknown = names.filter((name) => !MANAGERS[name])
  if (unknown.length > 0 || (flag && flag !== '--with'))
    throw new SetupError(`expected --with and some of ${Object.keys(MANAGERS).join(', ')}`)
  const made = existsSync(join(releases, platform, 'prebuilds'))
  console.log(
    made
      ? `the portable addon of ${join(releases, platform)}`
      : "this checkout's own addon, for npm run prebuildify was not run",
  )
  const registry = await serveRelease(join(work, 'release'), made ? portable : packageOfLocalBuild)
  try {
    for (const name of names) console.log(`${name} ${await tryManager(name, registry)}`)
  } finally {
    await registry.close()
  }
}

try {
  if (spawnSync('tar', ['--version']).status !== 0) throw new SetupError('tar was not found')
  process.chdir(root)
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(`traitscope: ${error.message}`)
  process.exitCode = 1
} finally {
  rmSync(work, { recursive: true, force: true })
}
