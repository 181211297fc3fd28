import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import type { Message } from '../../lib/prompts/messages.js'
import { chatTokens } from '../../lib/prompts/prompt-tokens.js'

interface Golden {
  date: string
  conversations: Record<string, Message[]>
  templates: Record<
    string,
    {
      source: string
      bosToken: string | null
      eosToken: string | null
      cases: { conversation: string; addGenerationPrompt: boolean; text?: string; refused?: string }[]
    }
  >
  lineEnds: {
    templates: { template: string; ends: 'CRLF' | 'CR'; text: string }[]
    message: Message
    snippets: { source: string; text: string }[]
  }
}

// Rendered by transformers itself: lab/golden_chat_templates.py.
const golden: Golden = JSON.parse(
  readFileSync(join(packageRoot, 'test/fixtures/prompts/chat-templates.json'), 'utf8'),
)

const user: Message = { role: 'user', content: 'Why do magnets stick?' }
const system: Message = { role: 'system', content: 'Be brief.' }

function goldenTemplate(name: string, options: Record<string, string> = {}) {
  const { source, bosToken, eosToken } = golden.templates[name]!
  return new ChatTemplate(source, {
    bosToken: bosToken ?? undefined,
    eosToken: eosToken ?? undefined,
    ...options,
  })
}

describe('ChatTemplate', () => {
  describe.each(Object.keys(golden.templates))('for %s', (name) => {
    const template = goldenTemplate(name, { systemRole: 'native', date: golden.date })
    it.each(golden.templates[name]!.cases)(
      'should render $conversation (generation prompt: $addGenerationPrompt) as transformers does',
      ({ conversation, addGenerationPrompt, text, refused }) => {
        const render = () => template.render(golden.conversations[conversation]!, { addGenerationPrompt })
        if (refused === undefined) expect(render()).toBe(text)
        else {
          expect(render).toThrow(
            expect.objectContaining({
              code: 'TEMPLATE',
              message: `the chat template refuses these messages: ${refused}`,
            }),
          )
        }
      },
    )
  })

  it.each(golden.lineEnds.templates)(
    'should render $template as transformers does when it is saved with $ends',
    ({ template: name, ends, text }) => {
      const { source, bosToken, eosToken } = golden.templates[name]!
      const template = new ChatTemplate(source.replaceAll('\n', { CRLF: '\r\n', CR: '\r' }[ends]), {
        bosToken: bosToken ?? undefined,
        eosToken: eosToken ?? undefined,
        systemRole: 'native',
      })
      const conversation = golden.conversations['system, user']!
      expect(template.render(conversation, { addGenerationPrompt: true })).toBe(text)
      // The same template, so measurements by either can be compared.
      expect(template.sha256).toBe(goldenTemplate(name).sha256)
    },
  )

  it.each(golden.lineEnds.snippets)(
    'should read the line ends of $source as jinja2 does',
    ({ source, text }) => {
      const template = new ChatTemplate(source, { systemRole: 'native' })
      expect(template.render([golden.lineEnds.message], { addGenerationPrompt: false })).toBe(text)
    },
  )

  it.each([
    ['llama-3', 'native'],
    ['mistral', 'native'],
    ['qwen-2.5', 'native'],
    ['qwen-3', 'native'],
    ['gemma-2', 'user-turn'], // raises
    ['gemma-3', 'native'], // puts it in the first user turn itself
    ['phi-3', 'native'],
    ['phi-4', 'native'],
    ['chatml', 'native'],
    ['macros', 'user-turn'], // drops it without a word
  ])('should find the system role of %s to be %s', (name, role) => {
    expect(goldenTemplate(name).systemRole).toBe(role)
  })

  it('should send a system prompt as an acknowledged user turn where there is no system role', () => {
    const [systemTurn, userTurn] = golden.conversations['system, user'] as [Message, Message]
    const expected = golden.templates['gemma-2']!.cases.find(
      (one) => one.conversation === 'system as user turn' && one.addGenerationPrompt,
    )!.text
    const template = goldenTemplate('gemma-2')
    expect(template.render([systemTurn, userTurn], { addGenerationPrompt: true })).toBe(expected)
  })

  it("should take the trait pack's acknowledgement", () => {
    const template = goldenTemplate('phi-4', { systemRole: 'user-turn', acknowledgement: 'Will do.' })
    expect(template.render([system, user], { addGenerationPrompt: true })).toBe(
      '<|im_start|>user<|im_sep|>Be brief.<|im_end|><|im_start|>assistant<|im_sep|>Will do.<|im_end|>' +
        '<|im_start|>user<|im_sep|>Why do magnets stick?<|im_end|><|im_start|>assistant<|im_sep|>',
    )
  })

  it('should let the caller overrule the detection', () => {
    expect(() =>
      goldenTemplate('gemma-2', { systemRole: 'native' }).render([system, user], {
        addGenerationPrompt: true,
      }),
    ).toThrow(expect.objectContaining({ code: 'TEMPLATE' }))
  })

  it.each([
    [undefined, '26 Jul 2024'],
    ['2031-01-05', '05 Jan 2031'],
  ])('should take the date %s for today on every day', (date, written) => {
    const template = goldenTemplate('llama-3', date === undefined ? {} : { date })
    expect(template.render([user], { addGenerationPrompt: true })).toContain(`Today: ${written}\n`)
  })

  it.each([
    ['a text', 'Hello', /a list of messages/],
    ['no messages', [], /at least one message/],
    ['a message without content', [{ role: 'user' }], /message 0 needs a role and a content/],
    // Gemma's would write it down as it is.
    [
      'a role that is none',
      [{ role: 'tool', content: '4' }],
      /a role of system, user, assistant, found tool/,
    ],
  ])('should refuse %s', (_, messages, text) => {
    const render = () =>
      goldenTemplate('gemma-2').render(messages as Message[], { addGenerationPrompt: true })
    expect(render).toThrow(expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(text) }))
  })

  it('should take the tokens of the model, and a model that is open', () => {
    const model = {
      path: 'a.gguf',
      chatTemplate: '{{ bos_token }}',
      bosToken: { id: 1, text: '<s>' },
      eosToken: undefined,
    }
    const forModel = (given: unknown, options?: object) => () =>
      ChatTemplate.forModel(given as never, options)
    expect(forModel(model)().render([user], { addGenerationPrompt: false })).toBe('<s>')
    for (const wrong of [
      forModel(model, { bosToken: '' }),
      forModel(Promise.resolve(model)),
      forModel('a.gguf'),
    ])
      expect(wrong).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  it('should not guess whether an answer is to follow', () => {
    expect(() => goldenTemplate('gemma-2').render([user], {} as never)).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining('addGenerationPrompt') }),
    )
  })

  describe('checkComplete', () => {
    const user = { role: 'user', content: 'One' } as const
    const talk = [user, { role: 'assistant', content: 'Two' }, { role: 'user', content: 'Three' }] as const
    const instructed = [{ role: 'system', content: 'Be kind.' }, user] as const
    const all = '{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}'
    const lastOnly = "{{ messages[-1]['content'] }}"
    const none = '{% for m in messages %}<{{ m.role }}>{% endfor %}'
    const short =
      "{% if messages | length > 2 %}{{ raise_exception('too long') }}{% endif %}{{ messages[0].content }}"

    it.each([
      [all, [talk, instructed]],
      [lastOnly, [[user]]],
      [none, [[{ role: 'system', content: 'x' } as const]]],
      // It refuses a second turn itself, where there is one.
      [short, [[user]]],
    ])('should have nothing against %s', (source, conversations) => {
      const template = new ChatTemplate(source, { systemRole: 'native' })
      expect(() => template.checkComplete(conversations)).not.toThrow()
    })

    it.each([
      [none, [[user]], /leaves out what the user says/],
      [lastOnly, [[user], talk], /leaves out what was said before the last turn/],
      // The system prompt is sent as a turn of its own, which would be lost.
      [lastOnly, [instructed], /leaves out what was said before/],
    ])('should refuse %s for some conversations', async (source, conversations, message) => {
      const template = new ChatTemplate(source)
      expect(() => template.checkComplete(conversations)).toThrow(
        expect.objectContaining({ code: 'TEMPLATE', message: expect.stringMatching(message) }),
      )
      const model = { tokenize: async () => [] }
      await expect(chatTokens(model, template, conversations)).rejects.toThrow(message)
    })
  })

  it('should pin strftime_now where a template does not ask for date_string', () => {
    const template = new ChatTemplate("{{ strftime_now('%-d.%m.%y %a %b %H:%M:%S %p %F %%') }}", {
      date: '2024-07-06',
    })
    expect(template.render([user], { addGenerationPrompt: true })).toBe(
      '6.07.24 Sat Jul 00:00:00 AM 2024-07-06 %',
    )
  })

  it.each(['2024-02-30', '26 Jul 2024', '2024-7-26', ''])('should refuse %j as a date', (date) => {
    expect(() => new ChatTemplate('{{ messages }}', { date })).toThrow(
      expect.objectContaining({ code: 'USAGE' }),
    )
  })

  it('should leave bos_token undefined for a model without one', () => {
    const template = new ChatTemplate('{{ bos_token is defined }} {{ eos_token }}', { eosToken: '</s>' })
    expect(template.render([user], { addGenerationPrompt: true })).toBe('false </s>')
  })

  it('should identify a template by the hash of its source', () => {
    expect(new ChatTemplate('{{ messages }}').sha256).toBe(
      'f24189f08c85a1eb19a737306c3a13e85462ee33d964f28108d64a2485fa2171',
    )
  })

  it.each([
    ['no messages', []],
    ['a content that is not text', [{ role: 'user', content: ['hi'] } as unknown as Message]],
    ['a missing role', [{ content: 'hi' } as unknown as Message]],
  ])('should refuse %s', (_, messages) => {
    const template = goldenTemplate('chatml')
    expect(() => template.render(messages, { addGenerationPrompt: true })).toThrow(
      expect.objectContaining({ code: 'USAGE' }),
    )
  })
})

describe('ChatTemplate.forModel', () => {
  const model = {
    path: 'base.gguf',
    chatTemplate: '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}',
    bosToken: { id: 1, text: '<s>' },
    eosToken: { id: 2, text: '</s>' },
  }

  it("should give the template the model's own tokens", () => {
    expect(ChatTemplate.forModel(model).render([user], { addGenerationPrompt: true })).toBe(
      '<s>Why do magnets stick?</s>',
    )
  })

  it('should name the file and the next step when the model has no template', () => {
    expect(() => ChatTemplate.forModel({ ...model, chatTemplate: undefined })).toThrow(
      expect.objectContaining({
        code: 'TEMPLATE',
        message: expect.stringMatching(/base\.gguf.*--chat-template FILE/),
      }),
    )
  })
})
