import type { AddHelpTextContext } from 'commander'

/**
 * For `addHelpText`: paragraphs, with an empty line between two, in the width that the options have. The examples, which are
 * for copying, stay as they are.
 */
export function notes(text: string): (context: AddHelpTextContext) => string {
  return ({ command, error }) => {
    const { getErrHelpWidth, getOutHelpWidth } = command.configureOutput()
    const columns = (error ? getErrHelpWidth : getOutHelpWidth)?.() ?? 80
    const fitted = (paragraph: string) =>
      command.createHelp().boxWrap(paragraph.replaceAll('\n', ' '), columns)
    const paragraphs = text.trim().split('\n\n')
    return `\n${paragraphs.map((each) => (each.startsWith('Example:') ? each : fitted(each))).join('\n\n')}`
  }
}
