import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildCase } from './cases.mjs'
import { loadSeeds } from './seeds.mjs'

const PROGRAM = fileURLToPath(new URL('../../dist/bin/traitscope.js', import.meta.url))
const HANG_MS = 20_000
/** Which path of a case stands for it on the command line. */
const SUBJECT = {
  gguf: 'case/model.gguf',
  adapter: 'case',
  safetensors: 'case/x.safetensors',
  'trainer-state': 'case',
  'model-folder': 'case',
  'trait-pack': 'case/pack.yaml',
  directions: 'case',
  trajectory: 'case/trajectory.json',
  labels: 'case/grades.json',
  merge: 'case',
  bundle: 'case',
  baseline: 'case',
  'chat-template': 'case/template.jinja',
}
/** The case takes this argument's place in `measure`; what measure does not read is only inspected. */
const MEASURED_AS = {
  gguf: 'model',
  adapter: 'run',
  'trainer-state': 'run',
  'trait-pack': 'pack',
  directions: 'directions',
  'chat-template': 'template',
}

/** Runs cases through the command line: `inspect` for even indices, `measure` for odd ones. */
export class FuzzCli {
  #seeds
  #folder = mkdtempSync(join(tmpdir(), 'traitscope-fuzz-cli-'))

  /** @returns as FuzzWorker.run(), with `partial` for an exit that left something half-written */
  async run({ reader, seed, index }) {
    this.#seeds ??= await loadSeeds()
    const input = buildCase(this.#seeds, reader, seed, index)
    rmSync(this.#folder, { recursive: true, force: true })
    this.#write('case', input.files)
    const subject = join(this.#folder, SUBJECT[reader])
    const measured = index % 2 === 1 ? MEASURED_AS[reader] : undefined
    const args = measured === undefined ? ['inspect', subject] : this.#measure(measured, subject, input.base)
    const result = await runProgram(args, this.#folder)
    return { ...(this.#partial(result) ?? result), notes: [args[0], ...input.notes] }
  }

  async close() {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #measure(measured, subject, base) {
    this.#write('run', this.#seeds.checkpoint)
    this.#write('directions', this.#seeds.directions)
    this.#write('', { 'pack.yaml': this.#seeds.pack })
    const paths = {
      model: base ?? this.#seeds.models[0].path,
      run: join(this.#folder, 'run'),
      directions: join(this.#folder, 'directions'),
      pack: join(this.#folder, 'pack.yaml'),
      [measured]: subject,
    }
    const options = [
      '--directions',
      paths.directions,
      '--allow-mismatch',
      '--no-cache',
      '-o',
      join(this.#folder, 'out'),
    ]
    if (paths.template !== undefined) options.push('--chat-template', paths.template)
    return ['measure', '-m', paths.model, '--traits', paths.pack, ...options, paths.run]
  }

  #partial({ outcome }) {
    const left = readdirSync(this.#folder).filter(
      (name) => !['case', 'run', 'directions', 'pack.yaml', 'out'].includes(name),
    )
    if (left.length > 0) return { outcome: 'partial', detail: left.join(', ') }
    if (outcome !== 'ok' && existsSync(join(this.#folder, 'out')))
      return { outcome: 'partial', detail: 'out' }
    return undefined
  }

  #write(under, files) {
    for (const [name, bytes] of Object.entries(files)) {
      const path = join(this.#folder, under, name)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, bytes)
    }
  }
}

function runProgram(args, cwd) {
  const child = spawn(process.execPath, [PROGRAM, ...args], { cwd, stdio: ['ignore', 'ignore', 'pipe'] })
  const timer = setTimeout(() => child.kill('SIGKILL'), HANG_MS)
  let stderr = ''
  child.stderr.on('data', (text) => {
    stderr += text
  })
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const named = /\[([A-Z_]+)\]\s*$/.exec(stderr)?.[1]
      if (signal === 'SIGKILL') resolve({ outcome: 'hang' })
      else if (signal !== null) resolve({ outcome: 'crash', detail: `${signal}: ${stderr.slice(0, 1500)}` })
      else if (code === 0) resolve({ outcome: 'ok' })
      else if ([1, 2, 4].includes(code) && named !== undefined && named !== 'INTERNAL')
        resolve({ outcome: 'error', detail: named, message: stderr })
      else resolve({ outcome: 'exception', detail: `exit ${code}: ${stderr.slice(0, 1500)}` })
    })
  })
}
