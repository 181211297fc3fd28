import type { AppendLog } from '../formats/files/append-log.js'
import { sha256 } from '../formats/files/hash.js'
import { generateText, shareDone } from '../generation/generate.js'
import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import type { Message } from '../prompts/messages.js'
import { recordKey, type SteeringRecord } from './answer-log.js'

/** An answer to be had: a prompt and what is added to the states meanwhile. */
export interface Arm {
  id: string
  messages: readonly Message[]
  control: ReadonlyMap<number, Float32Array> | undefined
}

/** How answers are got, and where they are kept. */
export interface AnswerSource {
  model: Model
  template: ChatTemplate
  /** SHA-256 of the directions that controls are made of. */
  directionsSha256: string
  log: AppendLog<SteeringRecord> | undefined
  sequences?: number | undefined
  signal?: AbortSignal | undefined
}

/**
 * Greedy answers of all arms, those that the log does not have generated together. Each is in the log as it ends.
 *
 * @throws as `Model.generate`, `AppendLog.append`
 */
export async function answersOf(
  { model, template, directionsSha256, log, sequences, signal }: AnswerSource,
  arms: readonly Arm[],
  maxTokens: number,
  onProgress?: (fraction: number) => void,
): Promise<Map<string, string>> {
  const basis = sha256(
    JSON.stringify([model.fingerprint, directionsSha256, template.sha256, template.systemRole, maxTokens]),
  ).slice(0, 16)
  const keyOf = ({ id, messages }: Arm) => ({
    basis: `${basis}${sha256(JSON.stringify(messages)).slice(0, 8)}`,
    id,
  })
  const texts = new Map<string, string>()
  const open: Arm[] = []
  for (const arm of arms) {
    const known = log?.records.get(recordKey(keyOf(arm)))?.text
    if (known === undefined) open.push(arm)
    else texts.set(arm.id, known)
  }
  const writing: Promise<void>[] = []
  if (open.length > 0) {
    await generateText(
      model,
      open.map(({ messages }) => ({ messages: [...messages] })),
      {
        ...{ template, maxTokens, sequences, signal },
        control: open.map(({ control }) => control),
        onGeneration: ({ prompt, text, finish }) => {
          if (finish === 'aborted') return
          texts.set(open[prompt]!.id, text)
          if (!log) return
          const written = log.append({ ...keyOf(open[prompt]!), text })
          written.catch(() => {})
          writing.push(written)
        },
        onProgress: (so) => onProgress?.(shareDone(so, maxTokens)),
      },
    )
  }
  await Promise.all(writing)
  return texts
}
