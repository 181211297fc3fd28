import { spawnSync } from 'node:child_process'
import type { PublishedBackend } from './published.js'

/**
 * What a backend needs of the system and does not find here: each with where it comes from. The system's own loader is asked, in
 * a process of its own, for whatever a library does when it is opened.
 */
export function missingLibraries({ system, glibc }: PublishedBackend): string[] {
  const missing = system
    .filter(({ library }) => !opens(library))
    .map(({ library, from }) => `${library}: ${from}`)
  const found = systemGlibc()
  if (found !== undefined && newer(glibc, found)) missing.push(`glibc ${glibc} or newer, found ${found}`)
  return missing
}

/** Node opens only its own addons, but says of another library whether it was found. */
function opens(library: string): boolean {
  const program =
    'try { process.dlopen({ exports: {} }, process.argv[1]) } catch (e) { console.log(e.message) }'
  const { stdout } = spawnSync(process.execPath, ['-e', program, library], {
    encoding: 'utf8',
    cwd: '/',
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  return !stdout.includes('cannot open shared object file')
}

function systemGlibc(): string | undefined {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime
}

function newer(wanted: string, found: string): boolean {
  const [a, b] = [wanted, found].map((version) => version.split('.').map(Number))
  return a![0]! > b![0]! || (a![0] === b![0] && a![1]! > b![1]!)
}
