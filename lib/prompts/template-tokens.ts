/** What tokenizing a rendered template needs of a model. */
export interface TemplateTokenizer {
  tokenize(
    texts: readonly string[],
    options: { addSpecial: boolean; parseSpecial: boolean },
  ): Promise<Int32Array[]>
  bosToken: { id: number; text: string } | undefined
}

/**
 * Token ids of rendered chat texts, each with at most one BOS: a text that starts with the BOS text brings its own, to
 * any other the tokenizer adds one if its vocabulary says so (`tokenizer.ggml.add_bos_token`). Special tokens written
 * in the text are parsed as such, as the template means them.
 *
 * transformers tokenizes templates with no special tokens added at all, so it differs where a template writes no BOS
 * but the vocabulary asks for one.
 */
export async function templateTokens(
  model: TemplateTokenizer,
  texts: readonly string[],
): Promise<Int32Array[]> {
  const bos = model.bosToken?.text
  const bringsBos = texts.map((text) => bos !== undefined && bos !== '' && text.startsWith(bos))
  const tokenize = (withBos: boolean) =>
    model.tokenize(
      texts.filter((_, index) => bringsBos[index] === withBos),
      { addSpecial: !withBos, parseSpecial: true },
    )
  const own = (bringsBos.includes(true) ? await tokenize(true) : []).values()
  const added = (bringsBos.includes(false) ? await tokenize(false) : []).values()
  return bringsBos.map((withBos) => (withBos ? own : added).next().value as Int32Array)
}
