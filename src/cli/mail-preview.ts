import { Argument, Command } from '@commander-js/extra-typings'
import { isMailKind, mailKinds } from '../mail/mail.js'
import type { MailPreview } from '../mail/preview.js'
import { filled, refusing } from '../operator/operation.js'

/** `holdfast mail preview`: it needs neither a store nor settings. */
export const mailPreviewCommand = refusing(
  new Command('preview')
    .description(
      'Writes mails with sample data into a folder, as text and as HTML, in each language. It sends nothing.'
    )
    .addArgument(new Argument('<name>', 'which mail').choices([...mailKinds, 'all']))
    .option('--out <folder>', 'where they are written', filled, 'mail-previews')
)

/** Writes what the parsed command names. */
export async function runMailPreview(): Promise<MailPreview[]> {
  const [name] = mailPreviewCommand.processedArgs
  const { previewMails } = await import('../mail/preview.js')
  return previewMails(mailPreviewCommand.opts().out, isMailKind(name) ? [name] : mailKinds)
}
