import { checkMade, Made, Needed, type OptionKinds, takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import type { Message } from './messages.js'
import { DEFAULT_ACKNOWLEDGEMENT, ROLES, systemAsUserTurn } from './messages.js'
import { strftime } from './strftime.js'
import { TemplateEngine, withLineFeeds } from './template-engine.js'

/** `native`: the template takes system messages. `user-turn`: they are sent as a user turn and acknowledged. */
export type SystemRole = 'native' | 'user-turn'

/**
 * The day that templates take for today, so that the same prompts give the same bytes on every day. It is the day that
 * Llama 3.1's template falls back to, hence what transformers renders for that family.
 */
const DEFAULT_TEMPLATE_DATE = '2024-07-26'

/** What a template is rendered with. */
export interface ChatTemplateOptions {
  /** Text of the tokenizer's BOS token, the template's `bos_token`; undefined when it has none. */
  bosToken?: string | undefined
  eosToken?: string | undefined
  /** `YYYY-MM-DD`, default {@link DEFAULT_TEMPLATE_DATE}. */
  date?: string | undefined
  /** Default `auto`: a probe is rendered, and `user-turn` is taken if the template refuses or drops system text. */
  systemRole?: SystemRole | 'auto' | undefined
  /** The assistant's answer to a system prompt sent as a user turn: the trait pack's, default the protocol's. */
  acknowledgement?: string | undefined
}

/** A template of a model takes its tokens from there. */
type OwnTokens = Omit<ChatTemplateOptions, 'bosToken' | 'eosToken'>

const OWN_TOKENS: OptionKinds<OwnTokens> = {
  date: 'string',
  systemRole: ['native', 'user-turn', 'auto'],
  acknowledgement: 'string',
}

const OPTIONS: OptionKinds<ChatTemplateOptions> = { ...OWN_TOKENS, bosToken: 'string', eosToken: 'string' }

const CHAT_MODEL = new Made<ChatTemplateModel>('a model as openModel opens it', 'chatTemplate')

const RENDER_OPTIONS: OptionKinds<{ addGenerationPrompt: boolean }> = {
  addGenerationPrompt: new Needed('boolean'),
}

/** What a template needs to know of a model. */
export interface ChatTemplateModel {
  path: string
  chatTemplate: string | undefined
  bosToken: { id: number; text: string } | undefined
  eosToken: { id: number; text: string } | undefined
}

/** Appears in no template, so its presence in the text shows that the system message came through. */
const PROBE = 'traitscope probe 5d1f'

const PLAIN = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}\n{% endfor %}"

/**
 * A chat template, rendered as `apply_chat_template(..., tokenize=False)` of transformers does without tools or
 * documents, save for the pinned date. The text carries the BOS if the template writes one.
 */
export class ChatTemplate {
  /** With line feeds for line ends, as jinja2 reads it: a template saved with others is the same one. */
  readonly source: string
  /** SHA-256 of {@link ChatTemplate.source}. */
  readonly sha256: string
  readonly systemRole: SystemRole
  readonly acknowledgement: string
  readonly date: string
  readonly #engine: TemplateEngine
  readonly #today: Date
  readonly #tokens: Record<string, string>

  /** @throws TraitscopeError TEMPLATE when the source is no template; USAGE for a date that is none. */
  constructor(source: string, options: ChatTemplateOptions = {}) {
    if (typeof source !== 'string')
      throw new TraitscopeError('USAGE', `expected the source of a template, found ${typeof source}`)
    const own = takeOptions('ChatTemplate', options, OPTIONS)
    const { bosToken, eosToken, date = DEFAULT_TEMPLATE_DATE, systemRole = 'auto' } = own
    this.#today = parseDate(date)
    this.date = date
    this.source = withLineFeeds(source)
    this.sha256 = sha256(this.source)
    this.acknowledgement = own.acknowledgement ?? DEFAULT_ACKNOWLEDGEMENT
    this.#engine = new TemplateEngine(this.source)
    this.#tokens = {
      ...(bosToken !== undefined && { bos_token: bosToken }),
      ...(eosToken !== undefined && { eos_token: eosToken }),
    }
    this.systemRole = systemRole === 'auto' ? this.#detectSystemRole() : systemRole
  }

  /**
   * The template of a model's GGUF.
   *
   * @throws TraitscopeError TEMPLATE, also when the model brings none.
   */
  static forModel(
    model: ChatTemplateModel,
    options: Omit<ChatTemplateOptions, 'bosToken' | 'eosToken'> = {},
  ): ChatTemplate {
    checkMade(model, CHAT_MODEL)
    const own = takeOptions('forModel', options, OWN_TOKENS)
    if (model.chatTemplate === undefined) {
      throw new TraitscopeError(
        'TEMPLATE',
        `expected a chat template in ${model.path}, found none (tokenizer.chat_template); ` +
          'give one with --chat-template FILE, for instance the chat_template.jinja of the original model',
      )
    }
    return new ChatTemplate(model.chatTemplate, {
      ...own,
      bosToken: model.bosToken?.text,
      eosToken: model.eosToken?.text,
    })
  }

  /**
   * For base models without a chat: the text of each message on a line of its own, behind the BOS where the vocabulary asks for
   * one. The answer begins on a line of its own too.
   */
  static plain(
    model: Pick<ChatTemplateModel, 'bosToken' | 'eosToken'> & { info: { addBos: boolean } },
    options: Omit<ChatTemplateOptions, 'bosToken' | 'eosToken'> = {},
  ): ChatTemplate {
    return new ChatTemplate(PLAIN, {
      ...takeOptions('plain', options, OWN_TOKENS),
      bosToken: model.info.addBos ? model.bosToken?.text : undefined,
      eosToken: model.eosToken?.text,
    })
  }

  /**
   * The conversation as the model reads it.
   *
   * @param options.addGenerationPrompt Whether the header of the assistant's answer follows; without it a template
   * ends after the last message.
   * @throws TraitscopeError TEMPLATE when the template refuses or fails; USAGE for an empty or malformed list.
   */
  render(messages: readonly Message[], options: { addGenerationPrompt: boolean }): string {
    const { addGenerationPrompt } = takeOptions('render', options, RENDER_OPTIONS)
    checkMessages(messages)
    return this.#render(this.#turns(messages), addGenerationPrompt)
  }

  #turns(messages: readonly Message[]): readonly Message[] {
    return this.systemRole === 'native' ? messages : systemAsUserTurn(messages, this.acknowledgement)
  }

  /**
   * Refuses a template that leaves out what users say, of a conversation's last turn or of earlier ones: different prompts
   * would read alike.
   *
   * @throws TraitscopeError TEMPLATE
   */
  checkComplete(conversations: readonly (readonly Message[])[]): void {
    const users = (messages: readonly Message[]) =>
      this.#turns(messages).filter(({ role }) => role === 'user').length
    const most = conversations.reduce((most, messages) => Math.max(most, users(messages)), 0)
    if (most === 0) return
    const last = this.#drops(1)
    if (!last && (most === 1 || !this.#drops(2))) return
    const what = last ? 'what the user says' : 'what was said before the last turn'
    throw new TraitscopeError(
      'TEMPLATE',
      `the chat template leaves out ${what}, so that different prompts would read alike; give the template that the model was trained with`,
    )
  }

  /** Whether the first of so many turns of a user is missing from the text; a template that refuses them leaves nothing out. */
  #drops(users: number): boolean {
    const turns: Message[] = [
      { role: 'user', content: PROBE },
      { role: 'assistant', content: 'Hello' },
      { role: 'user', content: 'Go on' },
    ]
    try {
      return !this.#render(turns.slice(0, 2 * users - 1), true).includes(PROBE)
    } catch {
      return false
    }
  }

  #render(messages: readonly Message[], addGenerationPrompt: boolean): string {
    return this.#engine.render(
      {
        ...this.#tokens,
        messages: messages.map(({ role, content }) => ({ role, content })),
        tools: null,
        documents: null,
        add_generation_prompt: addGenerationPrompt,
        date_string: strftime(this.#today, '%d %b %Y'),
      },
      this.#today,
    )
  }

  #detectSystemRole(): SystemRole {
    const messages: Message[] = [
      { role: 'system', content: PROBE },
      { role: 'user', content: 'Hello' },
    ]
    try {
      return this.#render(messages, true).includes(PROBE) ? 'native' : 'user-turn'
    } catch {
      // A template that fails on a plain user turn too says so when it is used.
      return 'user-turn'
    }
  }
}

function parseDate(date: string): Date {
  const parsed = new Date(`${date}T00:00:00Z`)
  if (
    !/^\d{4}-\d\d-\d\d$/.test(date) ||
    Number.isNaN(parsed.getTime()) ||
    !parsed.toISOString().startsWith(date)
  ) {
    throw new TraitscopeError('USAGE', `expected a date as YYYY-MM-DD for the chat template, found ${date}`)
  }
  return parsed
}

function checkMessages(messages: readonly Message[]): void {
  if (!Array.isArray(messages))
    throw new TraitscopeError('USAGE', 'expected a conversation as a list of messages')
  if (messages.length === 0) throw new TraitscopeError('USAGE', 'expected at least one message, found none')
  messages.forEach(({ role, content }: Message, index) => {
    if (typeof role !== 'string' || typeof content !== 'string') {
      throw new TraitscopeError('USAGE', `message ${index} needs a role and a content, both text`)
    }
    // A template that does not know a role writes it down as it is, or leaves the turn out.
    if (ROLES.includes(role)) return
    throw new TraitscopeError('USAGE', `message ${index} needs a role of ${ROLES.join(', ')}, found ${role}`)
  })
}

export const TEMPLATE = new Made<ChatTemplate>('a ChatTemplate', 'systemRole')
