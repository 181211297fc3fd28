import { rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errnoOf } from './file-errors.js'
import { sha256 } from './hash.js'

/**
 * Claims a name among the processes of this machine. The claim is a listening local socket, which the system takes back
 * however the process ends, so there is no stale lock to find out about after a kill. It does not reach over a network file
 * system or into another network namespace (a container).
 *
 * @returns what gives it up again; undefined when somebody has it, this process included
 */
export async function claim(name: string): Promise<(() => Promise<void>) | undefined> {
  const address = addressOf(sha256(name).slice(0, 32))
  try {
    return await listen(address)
  } catch (error) {
    if (errnoOf(error) !== 'EADDRINUSE') throw error
  }
  // A socket with a name in the file system outlives a process that was killed, but nobody answers there.
  if (process.platform === 'linux' || process.platform === 'win32' || (await answers(address)))
    return undefined
  await rm(address, { force: true })
  return listen(address)
}

function addressOf(id: string): string {
  if (process.platform === 'linux') return `\0traitscope-${id}`
  if (process.platform === 'win32') return `\\\\.\\pipe\\traitscope-${id}`
  return join(tmpdir(), `traitscope-${id}.lock`)
}

async function listen(address: string): Promise<() => Promise<void>> {
  const server: Server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ path: address, exclusive: true }, resolve)
  })
  server.unref()
  return () => new Promise((resolve) => server.close(() => resolve()))
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error) => resolve(errnoOf(error) !== 'ECONNREFUSED'))
  })
}
