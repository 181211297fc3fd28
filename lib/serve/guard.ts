import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { sha256 } from '../formats/files/hash.js'

export interface GuardOptions {
  /** Names that the server is called by, with or without a port; what else stands in `Host` is refused. */
  hosts: readonly string[]
  /** Required of every request where it is given. */
  token?: string | undefined
}

/** Why a request is refused: its status, and a sentence. */
export interface Refusal {
  status: number
  reason: string
}

export const TOKEN_COOKIE = 'traitscope_token'

/**
 * Whether a request may be answered. A page of another origin that a browser on this machine has open must neither read nor
 * write here: its `Host` (after DNS rebinding) or its `Origin` gives it away.
 */
export function refusalOf(request: IncomingMessage, { hosts, token }: GuardOptions): Refusal | undefined {
  const { host = '', origin } = request.headers
  const name = nameOf(host)
  if (name === undefined || !hosts.includes(name)) {
    return { status: 421, reason: `expected a Host of ${hosts.join(', ')}; name others with --allow-host` }
  }
  if (origin !== undefined && !isOwn(origin, host))
    return { status: 403, reason: 'expected no page of another origin' }
  if (token !== undefined && !isEqual(tokenOf(request) ?? '', token)) {
    return { status: 401, reason: 'expected the token: Authorization: Bearer, or open the page with ?token=' }
  }
  return undefined
}

/** Of a Host header, in lower case, without port and brackets. */
function nameOf(host: string): string | undefined {
  if (!URL.canParse(`http://${host}`) || /[@/?#\\]/.test(host)) return undefined
  return new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, '')
}

const isOwn = (origin: string, host: string): boolean =>
  URL.canParse(origin) && new URL(origin).host === new URL(`http://${host}`).host

function tokenOf(request: IncomingMessage): string | undefined {
  const { authorization, cookie = '' } = request.headers
  const bearer = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1]
  if (bearer !== undefined) return bearer
  const found = cookie.split(/; */).find((one) => one.startsWith(`${TOKEN_COOKIE}=`))
  return found === undefined ? undefined : decoded(found.slice(TOKEN_COOKIE.length + 1))
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** In a time that says nothing of where they differ, nor of their lengths. */
export const isEqual = (a: string, b: string): boolean =>
  timingSafeEqual(Buffer.from(sha256(a), 'hex'), Buffer.from(sha256(b), 'hex'))
