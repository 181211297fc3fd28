import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Call {
  prompt: string
  key: string | undefined
  body: Record<string, unknown>
}

export type Behaviour = (call: Call, n: number, response: ServerResponse) => void

/** A well-formed reply. */
export function says(
  response: ServerResponse,
  content: string | null,
  more: Record<string, unknown> = {},
): void {
  const body = {
    id: 'x',
    object: 'chat.completion',
    model: 'judge-1',
    choices: [
      {
        index: 0,
        finish_reason: 'stop',
        message: { role: 'assistant', content },
        ...(more.choice as object),
      },
    ],
    usage: { prompt_tokens: 100, completion_tokens: 2, total_tokens: 102 },
    ...more,
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** A server that speaks the protocol as badly as a test wants. */
export async function judgeServer(behave: Behaviour) {
  const calls: Call[] = []
  let running = 0
  const seen = { most: 0 }
  const server = createServer((request, response) => {
    // Whether anybody is there is no question.
    if (request.method === 'HEAD') {
      response.writeHead(404).end()
      return
    }
    seen.most = Math.max(seen.most, ++running)
    response.on('close', () => running--)
    void readBody(request).then((body) => {
      const [message] = body.messages as { content: string }[]
      const call = { prompt: message!.content, key: request.headers.authorization, body }
      calls.push(call)
      behave(call, calls.length, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    calls,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, unknown>
}
