/** Who speaks in a turn. */
export type Role = 'system' | 'user' | 'assistant'

export const ROLES: readonly string[] = ['system', 'user', 'assistant'] satisfies Role[]

/** One turn of a conversation, as chat templates take it. */
export interface Message {
  role: Role
  content: string
}

/** What the assistant says to a system prompt that is sent as a user turn: the method's protocol constant. */
export const DEFAULT_ACKNOWLEDGEMENT = 'Understood. I will follow these instructions.'

/**
 * Moves every system message into the conversation for models without a system role: a user turn with its text, then
 * the assistant's acknowledgement. Other messages stay as they are.
 */
export function systemAsUserTurn(messages: readonly Message[], acknowledgement: string): Message[] {
  return messages.flatMap((message): Message[] =>
    message.role === 'system'
      ? [
          { role: 'user', content: message.content },
          { role: 'assistant', content: acknowledgement },
        ]
      : [message],
  )
}
